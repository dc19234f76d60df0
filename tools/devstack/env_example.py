"""Write `.env.example` from the settings classes, or check that it is current (`--check`).

A script beside the package, not a module of it: it imports every service, which no package may.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from sharedjox_api.settings import ApiSettings
from sharedjox_devstack.settings import StackSettings
from sharedjox_gateway.settings import GatewaySettings
from sharedjox_worker.settings import WorkerSettings

TARGET: Final = Path(__file__).resolve().parents[2] / ".env.example"
CLASSES: Final[dict[str, type[BaseSettings]]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "gateway": GatewaySettings,
    "make up": StackSettings,
}
HEADER: Final = """\
# Settings of SharedJox, each with its default. Copy this file to .env and uncomment what you change:
# `make up` and docker compose read it; what the environment sets already is kept.
# Generated from the settings classes by `make codegen`.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable and who reads it."""

    name: str
    default: str
    meaning: str
    readers: tuple[str, ...]


def settings() -> list[Setting]:
    """Every setting once, in the order of the classes."""
    found: dict[str, Setting] = {}
    for reader, kind in CLASSES.items():
        meanings = _attribute_docstrings(kind)
        for name, field in kind.model_fields.items():
            known = found.get(name)
            # The services' own words and defaults win over what `make up` makes of them.
            found[name] = Setting(
                name.upper(),
                known.default if known else _shown(field),
                (known.meaning if known else "") or meanings.get(name, ""),
                (*(known.readers if known else ()), reader),
            )
    return list(found.values())


def _shown(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(str(item) for item in value)
    return "" if value is None else str(value)


def _attribute_docstrings(kind: type[BaseSettings]) -> dict[str, str]:
    """The string below each field, over the class and its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base in (BaseSettings, object) or not issubclass(base, BaseSettings):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, after in itertools.pairwise(statements):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = " ".join(text.split())
    return meanings


def render(all_settings: Iterable[Setting]) -> str:
    """The file's text: first what several read, then a section for each."""
    sections: dict[str, list[Setting]] = {title: [] for title in ("several", *CLASSES)}
    for setting in all_settings:
        services = [reader for reader in setting.readers if reader != "make up"]
        sections["several" if len(services) > 1 else (services or ["make up"])[0]].append(setting)
    lines = [HEADER]
    for title, members in sections.items():
        lines.append(f"\n# ---- {title} " + "-" * (70 - len(title)))
        for setting in members:
            lines += [f"# {line}" for line in textwrap.wrap(setting.meaning.replace("`", ""), 110)]
            lines.append(f"#{setting.name}={setting.default}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Entry point: 1 when `--check` finds the file stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    text = render(settings())
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"stale: {TARGET.name}; run: make codegen\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
