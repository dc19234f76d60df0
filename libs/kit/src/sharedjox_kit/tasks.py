"""The arq queue as the api (which enqueues) and the worker (which runs) both know it.

arq pickles by default; whoever can write to Redis could then run code in the worker. JSON cannot.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

QUEUE_NAME: Final = "sj:arq:queue"
WAKE_TOPIC: Final = "sj:arq:wake"
"""Pub/sub name: whoever enqueues also publishes here, so an idle worker need not poll quickly."""
RELAY_TASK: Final = "relay_outbox"


def serialize_task(task: dict[str, Any]) -> bytes:
    """Arq's `job_serializer`."""
    return orjson.dumps(task)


def deserialize_task(data: bytes) -> dict[str, Any]:
    """Arq's `job_deserializer`."""
    task: dict[str, Any] = orjson.loads(data)
    return task
