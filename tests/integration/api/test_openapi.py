"""The OpenAPI document: complete, and true of the running server (schemathesis)."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sharedjox_api.app import create_app
from sharedjox_api.settings import ApiSettings

from .served import ROLES, Served

EXAMPLES_PER_OPERATION = 12
ENDS_SESSIONS = ("/api/auth/logout", "/api/auth/sessions/{session_id}")
CHECKED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def tokens(served: Served) -> dict[str, str]:
    return {role: served.token(role) for role in ROLES}


SCHEMA = schemathesis.openapi.from_dict(create_app(ApiSettings()).openapi())
OPERATIONS: list[Any] = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]


def _cases(operation: Any) -> st.SearchStrategy[Any]:
    """Requests that fit the document, and requests that do not where there is something to get wrong."""
    good: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    takes_input = operation.body or operation.query or operation.path_parameters
    return good | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if takes_input else good


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.label for operation in OPERATIONS])
def test_the_server_does_what_the_document_says(operation: Any, served: Served, tokens: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(operation), role=st.sampled_from((*ROLES, None)))
    def ask(case: Any, role: str | None) -> None:
        headers = {}
        if role:
            token = served.token(role) if operation.path in ENDS_SESSIONS else tokens[role]
            headers["Authorization"] = f"Bearer {token}"
        case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKED)

    ask()


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    document = create_app(ApiSettings()).openapi()
    return [
        (method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


PUBLIC = {
    "/api/auth/register",
    "/api/auth/login",
    "/api/auth/refresh",
    "/healthz",
    "/readyz",
    "/metrics",
}


@pytest.mark.parametrize(
    ("method", "path", "operation"), _operations(), ids=lambda part: part if isinstance(part, str) else ""
)
def test_every_operation_is_documented_wholly(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    responses = operation["responses"]
    if path in ("/healthz", "/readyz", "/metrics"):
        return
    for status, response in responses.items():
        if int(status) >= 400:
            assert set(response["content"]) == {"application/problem+json"}, status
            assert response["content"]["application/problem+json"]["examples"]
        elif status != "204":
            content = response["content"]["application/json"]
            assert "$ref" in str(content["schema"]), "an answer without a schema"
    assert {"429", "503"} <= set(responses)
    assert operation.get("security") == ([] if path in PUBLIC else [{"bearer": []}])
    assert ("401" in responses) or path == "/api/auth/register"
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    if method != "GET" and not path.startswith("/broadcasting"):
        assert "Idempotency-Key" in parameters
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(responses)
