"""This process's report to operators. Source: `sharedjox_kit.processes`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version

from sharedjox_kit.clock import unix_ms
from sharedjox_kit.processes import (
    REPORT_EVERY_SECONDS,
    REPORT_SCRIPT,
    REPORTS_KEY,
    SEEN_KEY,
    ProcessReport,
    fingerprint,
    process_id,
)

from .apps import App
from .broker.redis import RedisBroker
from .settings import GatewaySettings


class Reports:
    """Call `tick` often; it writes every REPORT_EVERY_SECONDS."""

    def __init__(
        self,
        broker: RedisBroker,
        settings: GatewaySettings,
        apps: Callable[[], Iterable[App]],
        state: Callable[[], Mapping[str, int]],
    ) -> None:
        self.id = process_id()
        self._broker = broker
        self._apps = apps
        self._state = state
        self._settings = {
            "APP_ENV": settings.app_env.value,
            "REDIS_CHANNELS_URL": settings.channels_place,
            **settings.history().settings(),
        }
        self._version = version("sharedjox-gateway")
        self._started_ms = unix_ms()
        self._now = asyncio.get_running_loop().time
        self._next = 0.0

    def tick(self) -> None:
        """Write, when it is time."""
        if self._now() < self._next or (commander := self._broker.commander) is None:
            return
        self._next = self._now() + REPORT_EVERY_SECONDS
        # Not a `Script`: a report that Redis refuses is no reason to leave the connection.
        commander.send(None, "EVAL", REPORT_SCRIPT, 2, REPORTS_KEY, SEEN_KEY, self.id, self._report().to_json())

    def retire(self) -> None:
        """This process ends."""
        if (commander := self._broker.commander) is not None:
            commander.send(None, "HDEL", REPORTS_KEY, self.id)
            commander.send(None, "ZREM", SEEN_KEY, self.id)

    def _report(self) -> ProcessReport:
        apps = {
            app.id: [app.key, *(fingerprint(secret) for secret in (app.secret, *app.accepted_secrets))]
            for app in self._apps()
        }
        return ProcessReport(
            "gateway", self.id, self._version, self._started_ms, unix_ms(), self._settings, apps, self._state()
        )
