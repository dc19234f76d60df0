"""An AsyncAPI 3 description of what a subscriber receives, from the same types as everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import channels
from .events import EVENT_TYPES, JobClaimed, JobPosted, JobUpdated, NotificationCreated, Payload, WalletUpdated


@dataclass(frozen=True, slots=True)
class _Channel:
    key: str
    address: str
    description: str
    events: tuple[type[Payload], ...]
    parameter: str | None = None


_JOB: Final = "jobId"
_USER: Final = "userId"

_CHANNELS: Final = (
    _Channel("discovery", channels.JOBS_DISCOVERY, "Every job as it is posted. Public.", (JobPosted,)),
    _Channel(
        "job", "private-job.{jobId}", "A job's client and its claimant, nobody else.", (JobClaimed, JobUpdated), _JOB
    ),
    _Channel(
        "user",
        "private-user.{userId}",
        "That user alone.",
        (JobClaimed, WalletUpdated, NotificationCreated),
        _USER,
    ),
)


def _summary(kind: type[Payload]) -> str:
    return (kind.__doc__ or "").split("\n", 1)[0]


def _message(kind: type[Payload]) -> dict[str, Any]:
    """The frame around one payload: `data` is JSON inside a string, as every Pusher client reads it."""
    frame = {
        "type": "object",
        "required": ["event", "data", "channel", "id", "epoch", "offset"],
        "properties": {
            "event": {"const": kind.event_name},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": f"#/components/schemas/{kind.__name__}"},
            },
            "channel": {"type": "string"},
            "id": {"type": "string", "format": "uuid", "description": "The same on every channel and every repeat."},
            "epoch": {"type": "string", "description": "Changes when the channel's history was lost."},
            "offset": {"type": "integer", "minimum": 1, "description": "1, 2, 3, … without holes within an epoch."},
        },
    }
    return {"name": kind.event_name, "summary": _summary(kind), "contentType": "application/json", "payload": frame}


def _local(node: Any) -> Any:
    """Point references at the document's own components."""
    if isinstance(node, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _local(value)
            for key, value in node.items()
        }
    return [_local(value) for value in node] if isinstance(node, list) else node


def _channel(channel: _Channel) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": channel.address,
        "description": channel.description,
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in channel.events},
    }
    if channel.parameter is not None:
        described["parameters"] = {channel.parameter: {"description": "A positive integer without leading zeros."}}
    return described


def _operation(channel: _Channel) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel.key}"},
        "messages": [{"$ref": f"#/channels/{channel.key}/messages/{kind.__name__}"} for kind in channel.events],
    }


def asyncapi_document(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document. `schemas` are the payload types by name, with references of the form `#/$defs/Name`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "SharedJox real-time events",
            "version": "1.0.0",
            "description": "Pusher protocol 7 over WebSocket; durable events carry `id`, `epoch` and `offset`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "development": {"host": "127.0.0.1:8080", "protocol": "ws", "pathname": "/app/sharedjox"},
        },
        "channels": {channel.key: _channel(channel) for channel in _CHANNELS},
        "operations": {f"publish_{channel.key}": _operation(channel) for channel in _CHANNELS},
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in EVENT_TYPES.values()},
            "schemas": _local(dict(schemas)),
        },
    }
