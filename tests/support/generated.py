"""A part of a Markdown page that a program writes: between two marks, and checked to be as it would be written now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GeneratedPart:
    """`render` makes the part, `begin` and `end` included. `command` is what writes it, for whoever finds it stale."""

    page: Path
    begin: str
    end: str
    render: Callable[[], str]
    command: str

    def updated(self) -> str:
        """The page with its part made anew. Raises: ValueError when the marks are missing."""
        head, _, rest = self.page.read_text(encoding="utf-8").partition(self.begin)
        _, end, tail = rest.partition(self.end)
        if not end:
            msg = f"{self.page} has no marks for what `{self.command}` writes"
            raise ValueError(msg)
        return head + self.render() + tail

    def is_current(self) -> bool:
        """Whether writing would change nothing."""
        return self.updated() == self.page.read_text(encoding="utf-8")

    def main(self) -> None:
        """Rewrite the page, or with --check fail when it is stale."""
        if "--check" in sys.argv[1:]:
            raise SystemExit(0 if self.is_current() else f"{self.page.name} is stale: run `{self.command}`")
        self.page.write_text(self.updated(), encoding="utf-8")
