"""Publishing durable events the way the worker does: by the publish script, straight into Redis."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.control import COMMAND, Command, open_command
from sharedjox_contracts.frames import open_event_frame
from sharedjox_contracts.publication import Header, publish_arguments, publish_keys
from sharedjox_contracts.redis_layout import CONTROL_CHANNEL, PUBLISH_SCRIPT, HistoryLimits
from sharedjox_kit.clock import unix_ms, unix_us


class Publisher:
    """Publishes for one application. `limits` bound each channel's history."""

    def __init__(self, redis: Redis, app_id: str = "1001", limits: HistoryLimits | None = None) -> None:
        self._redis = redis
        self._app_id = app_id
        self._limits = limits or HistoryLimits()

    async def publish(
        self, channel: str, data: Any, *, event: str = "test.event", event_id: str | None = None, socket_id: str = ""
    ) -> int:
        """Publish one event with JSON `data`; returns its offset. `socket_id` is not to get it."""
        identity = event_id or str(uuid.uuid4())
        header = Header(event, event_id=identity, except_socket_id=socket_id, committed_at_us=unix_us())
        frame = open_event_frame(event=event, channel=channel, data=encode_json_text(data), event_id=identity)
        arguments = publish_arguments(
            event_id=identity,
            opened_frame=frame,
            header=header,
            candidate_epoch=secrets.token_hex(6),
            now_ms=unix_ms(),
            limits=self._limits,
        )
        return await self._run(channel, arguments)

    async def command(self, command: Command) -> int:
        """Publish a command to the gateways; returns its offset."""
        event_id, frame, _ = open_command(command, str(uuid.uuid4()))
        arguments = publish_arguments(
            event_id=event_id,
            opened_frame=frame,
            header=Header(COMMAND, event_id=event_id),
            candidate_epoch=secrets.token_hex(6),
            now_ms=unix_ms(),
            limits=self._limits,
        )
        return await self._run(CONTROL_CHANNEL, arguments)

    async def _run(self, channel: str, arguments: Sequence[bytes | str | int]) -> int:
        keys = publish_keys(self._app_id, channel)
        answer = self._redis.eval(PUBLISH_SCRIPT, len(keys), *keys, *arguments)  # type: ignore[arg-type]  # bytes are fine
        _is_new, _epoch, offset = await cast("Awaitable[tuple[int, bytes, int]]", answer)
        return offset
