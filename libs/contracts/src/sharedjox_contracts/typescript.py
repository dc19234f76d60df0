"""TypeScript from the contracts' JSON Schemas: payload types, event names, channel names, the envelope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import channels
from .events import EVENT_TYPES

_SIMPLE_TYPES: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}

_HEAD: Final = """\
// Generated from libs/contracts by `python -m sharedjox_contracts.schema_export`. Do not edit.
"""

_ENVELOPE: Final = """\
/** Where a subscriber stands in a channel: every later event has the same epoch and a greater offset. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** What a durable event's frame carries beside `event`, `channel` and `data`. */
export interface EventMeta extends Position {
  /** The event's id: the same on every channel and on every repeat. */
  readonly id: string;
}

/** A durable event's frame as it stands on the wire; `data` is JSON in a string. */
export interface EventFrame<Name extends string = EventName> extends EventMeta {
  readonly event: Name;
  readonly channel: string;
  readonly data: string;
}

/** What a client adds to the data of `pusher:subscribe` to be given what it missed. */
export interface RecoverRequest {
  readonly recover: Position;
}

/** What the gateway adds to the data of `pusher_internal:subscription_succeeded`. */
export interface SubscriptionPosition {
  readonly position: Position;
  /** Present when the client asked: true when everything missed was replayed, false when history no longer has it. */
  readonly recovered?: boolean;
  readonly replayed?: number;
}
"""


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return " | ".join(_literal(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        item = _type(schema["items"])
        return f"readonly ({item})[]" if " " in item else f"readonly {item}[]"
    return _SIMPLE_TYPES[schema["type"]]


def _comment(schema: Mapping[str, Any]) -> str | None:
    text = schema.get("description")
    return None if text is None else f"/** {' '.join(str(text).split())} */"


def _interface(name: str, schema: Mapping[str, Any]) -> str:
    lines = []
    if comment := _comment(schema):
        lines.append(comment)
    lines.append(f"export interface {name} {{")
    required = set(schema.get("required", ()))
    for field, kind in schema["properties"].items():
        if comment := _comment(kind):
            lines.append(f"  {comment}")
        lines.append(f"  readonly {field}{'' if field in required else '?'}: {_type(kind)};")
    lines.append("}\n")
    return "\n".join(lines)


def _event_map() -> str:
    lines = ["/** Event name to payload. */", "export interface EventPayloads {"]
    lines += [f'  readonly "{name}": {kind.__name__};' for name, kind in EVENT_TYPES.items()]
    lines += ["}\n", "export type EventName = keyof EventPayloads;\n", "export const EVENT_NAMES = ["]
    lines += [f'  "{name}",' for name in EVENT_TYPES]
    lines += ["] as const satisfies readonly EventName[];\n"]
    return "\n".join(lines)


def _template(name: str) -> str:
    return "`" + name.replace("{id}", "${id}") + "` as const"


def _channel_names() -> str:
    """Builders of wire names, and the names that Echo's `private()` and `join()` take (without their prefix)."""
    marker = 987654321
    built = {
        "privateJob": channels.private_job(marker),
        "presenceJob": channels.presence_job(marker),
        "privateUser": channels.private_user(marker),
    }
    wire = {name: value.replace(str(marker), "{id}") for name, value in built.items()}
    lines = ["/** Channel names as they stand on the wire. */", "export const wireChannels = {"]
    lines.append(f'  discovery: "{channels.JOBS_DISCOVERY}",')
    lines.append(f'  operations: "{channels.OPERATIONS}",')
    lines += [f"  {name}: (id: number) => {_template(value)}," for name, value in wire.items()]
    lines += ["} as const;\n", "/** The same for Echo, which adds `private-` and `presence-` itself. */"]
    lines += ["export const echoChannels = {", f'  discovery: "{channels.JOBS_DISCOVERY}",']
    lines.append(f'  operations: "{channels.OPERATIONS.removeprefix("private-")}",')
    lines.append(f"  job: (id: number) => {_template(wire['privateJob'].removeprefix('private-'))},")
    lines.append(f"  user: (id: number) => {_template(wire['privateUser'].removeprefix('private-'))},")
    lines += ["} as const;\n"]
    return "\n".join(lines)


def typescript_module(schemas: Mapping[str, Any]) -> str:
    """The text of `events.ts`. `schemas` are the payload types by name."""
    interfaces = [_interface(name, schema) for name, schema in schemas.items()]
    return "\n".join([_HEAD, *interfaces, _event_map(), _ENVELOPE, _channel_names()]).rstrip("\n") + "\n"
