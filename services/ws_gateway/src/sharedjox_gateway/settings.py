"""Settings of the gateway: Reverb's names as they stand, plus our own. Checked at start."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final, Self

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator
from sharedjox_contracts.history import HistoryPolicy, parse_history_kinds
from sharedjox_contracts.redis_layout import HistoryLimits
from sharedjox_contracts.webhooks import endpoints_from_urls
from sharedjox_kit.environment import ChannelSettings, reject_sample_secret, split_secrets

from .apps import App, Apps
from .protocol.client_address import TrustedProxies

SAMPLE_SECRETS: Final = frozenset({"sharedjox-secret", "app-secret", "secret"})
DESCRIPTORS_FOR_OTHERS: Final = 200
"""File descriptors left for Redis, logs, HTTP and what the interpreter needs."""


class GatewaySettings(ChannelSettings):
    """Field names are the environment's names. Durations are in seconds, sizes in bytes."""

    reverb_app_id: str = "1001"
    reverb_app_key: str = "sharedjox"
    reverb_app_secret: SecretStr = SecretStr("sharedjox-secret")
    reverb_app_accepted_secrets: SecretStr = SecretStr("")
    """Secrets whose signatures the gateways accept as well, comma separated: the next one before a rotation, the former
    one after it."""
    reverb_host: str = "127.0.0.1"
    reverb_port: int = Field(default=8080, ge=0, le=65535)
    reverb_scheme: str = Field(default="http", pattern="^https?$")
    broadcast_driver: str = "reverb"
    apps_file: Path | None = None
    """A JSON file with a list of applications; instead of REVERB_APP_*. Read again when it changes."""
    webhook_urls: str = ""
    """Receivers of all webhooks of REVERB_APP_ID, separated by commas; the worker sends them."""
    allowed_origins: str = "*"
    """Comma separated: origins (https://app.example.com), host names, *.example.com, or * for all."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    gateway_admin_host: str = "127.0.0.1"
    gateway_admin_port: int = Field(default=0, ge=0, le=65535)
    """This process's own /metrics and /readyz, for when several share REVERB_PORT. 0: none."""

    gateway_native: bool = True
    """Use the code in C where it was built; without it the gateway does the same in Python."""
    gateway_internal_host: str = "127.0.0.1"
    """Where other gateway processes reach this one with requests for its HTTP fallback sessions: on one machine
    loopback, on several this one's address, or a name, in their private network. For a name all interfaces are
    listened on. What comes there has to be signed with the app's secret."""
    gateway_internal_port: int = Field(default=0, ge=0, le=65535)
    """The port for that. 0: any that is free."""

    activity_timeout_seconds: int = Field(default=120, ge=1, le=600)
    ping_interval_seconds: float = Field(default=30.0, gt=0)
    handshake_timeout_seconds: float = Field(default=10.0, gt=0)
    close_timeout_seconds: float = Field(default=5.0, gt=0)
    connection_lifetime_seconds: float = Field(default=86400.0, gt=0)
    max_connections: int = Field(default=0, ge=0)
    """Per process; beyond it clients get 4100. 0: as many as file descriptors allow."""
    max_connections_per_address: int = Field(default=0, ge=0)
    """Of one client address in this process; beyond it clients get 4100. 0: no limit."""
    trusted_proxies: str = "127.0.0.1"
    """Whose `X-Forwarded-For` is believed: addresses and networks, comma separated."""
    max_message_bytes: int = Field(default=64 * 1024, ge=1024)
    max_buffer_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Per connection, unsent; beyond it the connection is closed with 4100."""
    keep_alive_seconds: float = Field(default=75.0, ge=1)
    """For idle HTTP connections. Longer than balancers keep theirs (60 s is common), so that they end first."""
    request_timeout_seconds: float = Field(default=30.0, ge=1)
    """For an HTTP request to arrive whole."""
    cache_seconds: int = Field(default=1800, ge=1)
    """How long a cache channel remembers its last event."""
    redis_probe_seconds: float = Field(default=5.0, gt=0)
    """How often the connections to Redis are probed; a hanging one is replaced after two silent probes."""
    drain_seconds: float = Field(default=10.0, ge=0)
    drain_wave_seconds: float = Field(default=0.25, gt=0)
    lease_heartbeat_seconds: float = Field(default=3.0, gt=0)
    lease_seconds: float = Field(default=9.0, gt=0)
    """A process that was not heard of for this long is dead to the others: they remove what it held (at the latest one
    heartbeat later)."""
    history_length: int = Field(default=1000, ge=1, le=100_000)
    history_age_seconds: int = Field(default=3600, ge=1)
    history_meta_seconds: int = Field(default=7 * 86400, ge=60)
    history_kinds: str = ""
    """Other limits for some kinds of channels: kind=events/seconds, comma separated, e.g. presence=100/600; kinds are
    public, private, presence, encrypted, cache, user (of a signed-in user)."""

    @field_validator("broadcast_driver")
    @classmethod
    def _check_driver(cls, value: str) -> str:
        if value not in ("reverb", "pusher", "redis"):
            msg = "use reverb (pusher and redis mean the same here)"
            raise ValueError(msg)
        return value

    @field_validator("gateway_internal_host")
    @classmethod
    def _check_internal_host(cls, value: str) -> str:
        if value in ("", "0.0.0.0", "::", "*"):  # noqa: S104 - refused here
            msg = "others are told to come to this address: name one that leads here, not all of them"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.history()
        TrustedProxies(self.trusted_proxies)
        if bool(self.tls_certificate) != bool(self.tls_key):
            msg = "set both TLS_CERTIFICATE and TLS_KEY, or neither"
            raise ValueError(msg)
        if self.reverb_scheme == "https" and self.tls_certificate is None:
            msg = "REVERB_SCHEME=https needs TLS_CERTIFICATE and TLS_KEY; behind a TLS balancer leave it http"
            raise ValueError(msg)
        Apps(self.load_apps())
        return self

    def history(self) -> HistoryPolicy:
        """How much of each channel's past Redis keeps. Raises: ValueError that says what is wrong."""
        limits = HistoryLimits(self.history_length, self.history_age_seconds, self.history_meta_seconds)
        return HistoryPolicy(limits, parse_history_kinds(self.history_kinds, limits))

    def load_apps(self) -> list[App]:
        """The applications of APPS_FILE, or the one of REVERB_APP_*. Raises: ValueError that says what is wrong."""
        apps = self._read_apps()
        for app in apps:
            for secret in (app.secret, *app.accepted_secrets):
                reject_sample_secret(f"secret of app {app.id}", SecretStr(secret), SAMPLE_SECRETS, self.app_env)
        return apps

    def _read_apps(self) -> list[App]:
        if self.apps_file is not None:
            try:
                return msgspec.json.decode(self.apps_file.read_bytes(), type=list[App])
            except (OSError, msgspec.DecodeError) as error:
                msg = f"APPS_FILE {self.apps_file}: {error}"
                raise ValueError(msg) from error
        origins = frozenset(part.strip() for part in self.allowed_origins.split(",") if part.strip())
        app = {
            "id": self.reverb_app_id,
            "key": self.reverb_app_key,
            "secret": self.reverb_app_secret.get_secret_value(),
            "accepted_secrets": split_secrets(self.reverb_app_accepted_secrets),
            "allowed_origins": origins,
            "webhooks": endpoints_from_urls(self.webhook_urls),
        }
        try:
            return [msgspec.convert(app, App)]
        except msgspec.ValidationError as error:
            msg = f"REVERB_APP_*: {error}"
            raise ValueError(msg) from error

    @property
    def connection_limit(self) -> int:
        """Connections that this process takes."""
        descriptors = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - DESCRIPTORS_FOR_OTHERS, 100)
        return min(self.max_connections or descriptors, descriptors)
