"""docs/security.md names tests as proof: all ten risks have some, and every named test exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
PROOF = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)`")
RISKS = re.compile(r"^### API(?P<number>\d+) .*?(?=^##)", re.MULTILINE | re.DOTALL)


@functools.cache
def _tests_of(path: Path) -> set[str]:
    """The tests of a module; empty when there is no such file."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_named_test_exists() -> None:
    named = [(found["path"], found["name"]) for found in PROOF.finditer(PAGE)]
    missing = [f"{path}::{name}" for path, name in named if name not in _tests_of(REPOSITORY / path)]
    assert missing == []
    # Nothing that looks like a test is written in a way that the line above would pass over.
    assert len(named) == PAGE.count("::test_")


def test_every_risk_has_its_proof() -> None:
    proofs = {int(found["number"]): len(PROOF.findall(found[0])) for found in RISKS.finditer(PAGE)}
    assert sorted(proofs) == list(range(1, 11))
    assert min(proofs.values()) >= 3
