"""Makes the table of docs/problem-codes.md from the code: `python -m tests.docs.problem_codes`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sharedjox_api.app import create_app
from sharedjox_api.http.errors import HttpProblem
from sharedjox_api.http.openapi import Refusal, status_of
from sharedjox_api.settings import ApiSettings
from sharedjox_marketplace.errors import DomainError

from tests.support.generated import GeneratedPart
from tests.support.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "problem-codes.md"
BEGIN = "<!-- problem codes: made by `make problem-codes`; do not edit below -->"
END = "<!-- problem codes: end -->"
OUTSIDE_OF_CALLS = {
    "not-found": "paths that do not exist",
    "method-not-allowed": "paths that take other methods",
    "internal-error": "any call",
}
"""What no call documents, because it says nothing about the call."""
_MOST_LISTED = 6


def refusals() -> list[Refusal]:
    """Every refusal that the api knows, by status and code. The app's import has brought in all that there are."""
    found = [kind for base in (DomainError, HttpProblem) for kind in _subclasses(base) if hasattr(kind, "code")]
    return sorted(found, key=lambda refusal: (status_of(refusal), refusal.code))


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def documented_calls(document: dict[str, Any]) -> dict[tuple[int, str], list[str]]:
    """From the OpenAPI document: (status, code) -> calls that may refuse so."""
    calls: dict[tuple[int, str], list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
                for code in examples:
                    calls.setdefault((int(status), code), []).append(f"{method.upper()} {path}")
    return calls


def render() -> str:
    """The table as Markdown."""
    document = create_app(ApiSettings()).openapi()
    calls = documented_calls(document)
    everywhere = max(map(len, calls.values()))
    lines = [BEGIN, "", "| code | status | when | where |", "|---|---|---|---|"]
    for refusal in refusals():
        status = status_of(refusal)
        where = OUTSIDE_OF_CALLS.get(refusal.code) or _where(calls[status, refusal.code], everywhere)
        when = " ".join((refusal.__doc__ or "").split())
        lines.append(f"| `{refusal.code}` | {status} | {when} | {where} |")
    return "\n".join([*lines, "", END])


def _where(calls: list[str], everywhere: int) -> str:
    if len(calls) == everywhere:
        return "every call"
    if len(calls) > _MOST_LISTED:
        return f"{len(calls)} calls"
    return "<br>".join(f"`{call}`" for call in sorted(calls, key=lambda call: call.split()[1]))


PART = GeneratedPart(PAGE, BEGIN, END, render, "make problem-codes")

if __name__ == "__main__":
    PART.main()
