"""Generate JSON Schema, TypeScript and AsyncAPI from the contracts, or check that what was generated is not stale.

    python -m sharedjox_contracts.schema_export                        # writes libs/contracts/generated/
    python -m sharedjox_contracts.schema_export --typescript events.ts # and a copy of events.ts at that path
    python -m sharedjox_contracts.schema_export --check                # writes nothing, exit 1 when a file is stale

The one module of this package that touches files; nothing imports it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from .asyncapi import asyncapi_document
from .control import CONTROL_TYPES
from .events import EVENT_TYPES, Payload
from .typescript import typescript_module

DEFAULT_FOLDER: Final = Path(__file__).resolve().parents[2] / "generated"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/{name}"


def _exact_numbers(node: Any) -> Any:
    """Amounts are JSON numbers on our wire; msgspec's own default describes a decimal as a string."""
    if isinstance(node, dict):
        if node.get("format") == "decimal":
            rest = {key: value for key, value in node.items() if key not in ("type", "format")}
            return {"type": "number", **rest}
        return {key: _exact_numbers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_exact_numbers(value) for value in node]
    return node


def payload_schemas() -> dict[str, Any]:
    """JSON Schema of every type that an event's payload uses, by type name."""
    _, components = msgspec.json.schema_components(list(EVENT_TYPES.values()), ref_template=_REFERENCE)
    schemas: dict[str, Any] = _exact_numbers(dict(components))
    return schemas


def event_schema(kind: type[Payload]) -> dict[str, Any]:
    """A self-contained JSON Schema document for one event's payload."""
    (reference,), components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    definitions = _exact_numbers(dict(components))
    return {"$schema": _DIALECT, "$id": f"urn:sharedjox:event:{kind.event_name}", **reference, "$defs": definitions}


def _text(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def generate() -> dict[str, str]:
    """Every generated file, by its path below the output folder."""
    schemas = payload_schemas()
    files = {f"schema/{name}.json": _text(event_schema(kind)) for name, kind in (EVENT_TYPES | CONTROL_TYPES).items()}
    files["asyncapi.json"] = _text(asyncapi_document(schemas))
    files["events.ts"] = typescript_module(schemas)
    return files


def _stale(files: Mapping[Path, str]) -> list[Path]:
    return [path for path, content in files.items() if not path.is_file() or path.read_text("utf-8") != content]


def _surplus(folder: Path, files: Mapping[Path, str]) -> list[Path]:
    """Schemas of events that no longer exist."""
    return [path for path in sorted((folder / "schema").glob("*.json")) if path not in files]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sharedjox_contracts.schema_export", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="folder of the generated files")
    parser.add_argument(
        "--typescript", type=Path, action="append", default=[], metavar="FILE", help="also write events.ts to FILE"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parse(arguments)
    generated = generate()
    files = {options.out / name: content for name, content in generated.items()}
    files |= dict.fromkeys(options.typescript, generated["events.ts"])
    surplus = _surplus(options.out, files)
    stale = _stale(files)
    if options.check:
        for path in (*stale, *surplus):
            sys.stderr.write(f"stale: {path}; run: python -m sharedjox_contracts.schema_export\n")
        return 1 if stale or surplus else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], "utf-8")
    for path in surplus:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
