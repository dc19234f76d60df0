"""Putting a relay together."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from sharedjox_contracts.history import HistoryPolicy
from sharedjox_contracts.redis_layout import HistoryLimits
from sharedjox_kit.cluster_clients import ClusterClients
from sharedjox_kit.tracing import Tracing

from .claims import RecordPool
from .cluster_publisher import ClusterPublisher
from .metrics import RelayMetrics
from .preparation import Preparer
from .publisher import EventPublisher
from .relay import ControlHandler, Relay, RelaySettings

DEFAULT_MAX_DATA_BYTES: Final = 64 * 1024


def build_relay(
    *,
    pool: RecordPool,
    redis: Redis,
    app_id: str,
    metrics: RelayMetrics,
    on_control: ControlHandler,
    settings: RelaySettings | None = None,
    history: HistoryPolicy | None = None,
    max_data_bytes: int = DEFAULT_MAX_DATA_BYTES,
    channels: ClusterClients | None = None,
    tracing: Tracing | None = None,
) -> Relay:
    """A relay from `pool` to `redis`, whose client must not retry by itself (the relay does).

    `channels`: the Cluster on which channels live instead; `redis` has the commands to the gateways then. The caller
    closes both, the relay with its `aclose` before them.
    Raises: ValueError when a batch is longer than a channel's history: its repeat after a crash would then not be
    recognized.
    """
    settings, history = settings or RelaySettings(), history or HistoryPolicy(HistoryLimits())
    if max(settings.batch_rows, settings.repeat_rows_per_channel) > history.shortest:
        msg = f"a history of {history.shortest} events cannot recognize a repeated batch of {settings.batch_rows}"
        raise ValueError(msg)
    publisher = EventPublisher(redis, app_id=app_id)
    return Relay(
        pool=pool,
        publisher=publisher if channels is None else ClusterPublisher(channels, publisher, app_id=app_id),
        preparer=Preparer(history, max_data_bytes=max_data_bytes, tracing=tracing),
        on_control=on_control,
        metrics=metrics,
        settings=settings,
    )
