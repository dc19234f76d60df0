"""The worker's settings: environment names, defaults, and what is refused at start."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, field_validator, model_validator
from sharedjox_contracts.redis_layout import HistoryLimits
from sharedjox_kit.environment import ServiceSettings
from sharedjox_marketplace.database import asyncpg_url
from sharedjox_outbox.relay import RelaySettings


class WorkerSettings(ServiceSettings):
    """What the worker reads from the environment."""

    database_url: str = "postgresql+asyncpg://app@127.0.0.1:5432/sharedjox"
    reverb_app_id: str = Field(default="1001", pattern=r"^[0-9]+$")
    """The app whose channels the marketplace's events go to."""

    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: int = Field(default=9100, ge=0, le=65535)
    """`/healthz`, `/readyz` and `/metrics`; 0 = off."""
    worker_max_tasks: int = Field(default=10, ge=1, le=1000)
    worker_shutdown_seconds: float = Field(default=8.0, gt=0)
    """How long running tasks may finish after SIGTERM."""

    relay_batch_rows: int = Field(default=500, ge=1, le=5000)
    relay_sweep_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the outbox is looked at without a bell; bounds the delay that a lost bell costs."""
    relay_replay_seconds: float = Field(default=10.0, ge=0)
    """After a restart of Redis, how much of what it had confirmed is published again."""
    relay_max_event_bytes: int = Field(default=65_536, ge=1024)
    history_length: int = Field(default=1000, ge=1, le=100_000)
    history_seconds: int = Field(default=3600, ge=1)

    outbox_keep_hours: float = Field(default=24.0, gt=0)
    """How long published rows stay in the outbox."""
    idempotency_keep_hours: float = Field(default=24.0, ge=24.0)

    @field_validator("database_url")
    @classmethod
    def _readable_url(cls, value: str) -> str:
        return asyncpg_url(value)

    @model_validator(mode="after")
    def _history_holds_a_batch(self) -> WorkerSettings:
        if self.relay_batch_rows > self.history_length:
            msg = "RELAY_BATCH_ROWS may not exceed HISTORY_LENGTH: a repeated batch would not be recognized"
            raise ValueError(msg)
        return self

    def history_limits(self) -> HistoryLimits:
        """How much of every channel's past Redis keeps."""
        return HistoryLimits(length=self.history_length, age_seconds=self.history_seconds)

    def relay(self) -> RelaySettings:
        """The relay's part."""
        return RelaySettings(
            batch_rows=self.relay_batch_rows,
            repeat_rows_per_channel=min(self.relay_batch_rows, self.history_length),
            replay_window=dt.timedelta(seconds=self.relay_replay_seconds),
        )
