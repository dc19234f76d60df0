"""The conformance table is true: every sentence has tests, all of them exist, and the page shows the present table."""

from __future__ import annotations

import ast

from tests.conformance.conformance_table import PART, ROOT, named_tests, sections


def test_every_named_test_exists() -> None:
    missing = []
    for test in named_tests():
        path, _, name = test.partition("::")
        module = ast.parse((ROOT / "tests" / path).read_text())
        functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in functions:
            missing.append(test)
    assert missing == []


def test_every_sentence_is_proved() -> None:
    assert all(sentence["tests"] for section in sections() for sentence in section["sentences"])


def test_the_page_is_up_to_date() -> None:
    assert PART.is_current(), f"run `{PART.command}`"
