"""Makes the table of docs/protocol.md from sentences.toml: `python -m tests.conformance.conformance_table`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tests.support.generated import GeneratedPart

ROOT = Path(__file__).parents[2]
SENTENCES = Path(__file__).with_name("sentences.toml")
PAGE = ROOT / "docs" / "protocol.md"
BEGIN = "<!-- conformance: made by `make conformance-table`; do not edit below -->"
END = "<!-- conformance: end -->"


def sections() -> list[dict[str, Any]]:
    """The sections of sentences.toml."""
    found: list[dict[str, Any]] = tomllib.loads(SENTENCES.read_text())["section"]
    return found


def named_tests() -> set[str]:
    """Every test that some sentence relies on, as a path below tests/ and a function."""
    return {test for section in sections() for sentence in section["sentences"] for test in sentence["tests"]}


def render() -> str:
    """The table as Markdown."""
    lines = [BEGIN, ""]
    for section in sections():
        lines += [f"### {section['title']}", "", "| sentence | proved by |", "|---|---|"]
        for sentence in section["sentences"]:
            proofs = "<br>".join(_link(test) for test in sentence["tests"])
            says = sentence["says"].replace("|", "&#124;")
            lines.append(f"| {says} | {proofs} |")
        lines.append("")
    return "\n".join([*lines, END])


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{path})"


PART = GeneratedPart(PAGE, BEGIN, END, render, "make conformance-table")

if __name__ == "__main__":
    PART.main()
