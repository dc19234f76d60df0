"""Makes the table of docs/protocol.md from sentences.toml: `python -m tests.conformance.conformance_table`."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

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


def updated(page: str) -> str:
    """The page with its table made anew. Raises: ValueError when the markers are missing."""
    head, _, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        msg = f"{PAGE} has no markers for the table"
        raise ValueError(msg)
    return head + render() + tail


def main() -> None:
    """Rewrite the page, or with --check fail when it is stale."""
    page = PAGE.read_text()
    fresh = updated(page)
    if "--check" in sys.argv[1:]:
        raise SystemExit("docs/protocol.md is stale: run `make conformance-table`" if fresh != page else 0)
    PAGE.write_text(fresh)


if __name__ == "__main__":
    main()
