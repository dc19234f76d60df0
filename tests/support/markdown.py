"""Code blocks of a Markdown page, so that tests run what the page shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One fenced block: its language ("" when it has none), text, and the line where it starts."""

    language: str
    text: str
    line: int


def code_blocks(page: Path, *, section: str) -> list[CodeBlock]:
    """The blocks below the heading `## section`, in order. Raises: AssertionError when there is no such heading."""
    whole = page.read_text(encoding="utf-8")
    start = whole.find(f"\n## {section}\n")
    assert start >= 0, f"{page.name} has no section {section!r}"
    end = whole.find("\n## ", start + 1)
    return [
        CodeBlock(found["language"], found["text"], whole.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(whole, start, end if end >= 0 else len(whole))
    ]
