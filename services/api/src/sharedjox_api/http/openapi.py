"""The OpenAPI document: answers from msgspec, bodies from pydantic, every refusal with its code."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from sharedjox_marketplace.errors import DomainError

from .answers import Answer
from .errors import (
    BodyTooLargeProblem,
    HttpProblem,
    MalformedJsonProblem,
    RateLimitedProblem,
    UnavailableProblem,
    UnsupportedMediaTypeProblem,
    ValidationProblem,
)
from .links import add_links
from .problems import PROBLEM_JSON, STATUS_OF_KIND, TYPE_PREFIX

Responses = dict[int | str, dict[str, Any]]
Refusal = type[DomainError] | type[HttpProblem]

_REFERENCE: Final = "#/components/schemas/{name}"
_ALWAYS: Final[tuple[Refusal, ...]] = (RateLimitedProblem, UnavailableProblem)
READS_BODY: Final[tuple[Refusal, ...]] = (
    MalformedJsonProblem,
    BodyTooLargeProblem,
    UnsupportedMediaTypeProblem,
    ValidationProblem,
)


def status_of(refusal: Refusal) -> int:
    """The HTTP status of a refusal."""
    return refusal.status if issubclass(refusal, HttpProblem) else STATUS_OF_KIND[refusal.kind]


def documented(
    answer: type[Answer] | None,
    *refusals: Refusal,
    status: int = 200,
    page: bool = False,
    example: Any = None,
    description: str = "Success",
) -> Responses:
    """`responses=` of a route: its answer, and each refusal under its status with its code as an example."""
    success: dict[str, Any] = {"description": description}
    if answer is not None:
        reference: dict[str, Any] = {"$ref": _REFERENCE.format(name=answer.__name__)}
        schema = _page_of(reference) if page else reference
        content: dict[str, Any] = {"schema": schema}
        if example is not None:
            content["example"] = {"items": [example], "nextCursor": None} if page else example
        success["content"] = {"application/json": content}
    grouped: dict[int, list[Refusal]] = {}
    for refusal in dict.fromkeys((*refusals, *_ALWAYS)):
        grouped.setdefault(status_of(refusal), []).append(refusal)
    responses: Responses = {status: success}
    responses.update({code: _refusals(code, group) for code, group in sorted(grouped.items())})
    return responses


def _page_of(reference: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "nextCursor"],
        "properties": {
            "items": {"type": "array", "items": reference},
            "nextCursor": {"type": ["string", "null"], "description": "Give it back as ?cursor= for the next page."},
        },
    }


def _refusals(status: int, group: list[Refusal]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"`{refusal.code}`: {refusal.title}" for refusal in group),
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": _REFERENCE.format(name="Problem")},
                "examples": {
                    refusal.code: {
                        "value": {
                            "type": TYPE_PREFIX + refusal.code,
                            "title": refusal.title,
                            "status": status,
                            "detail": (refusal.__doc__ or refusal.title).splitlines()[0],
                            "code": refusal.code,
                            "requestId": "f3a1c0de5b2e4d77",
                        }
                    }
                    for refusal in group
                },
            }
        },
    }


_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457 problem details. `code` is stable and meant for programs, `detail` for people.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body within 24 h gives the first answer again; another body gives 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_SOCKET_PARAMETER: Final[dict[str, Any]] = {
    "name": "X-Socket-ID",
    "in": "header",
    "required": False,
    "description": "The caller's own connection, which does not get the events of this call (`toOthers`).",
    "schema": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+$", "maxLength": 64},
}
MATCH_PARAMETER: Final[dict[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag that the caller has seen; 412 when the job has changed since.",
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]{0,8}"$'},
}
PUBLIC: Final[dict[str, Any]] = {"security": []}
"""`openapi_extra` of calls that take no token; all others take one."""
PUBLIC_WITH_KEY: Final[dict[str, Any]] = PUBLIC | {"parameters": [_KEY_PARAMETER]}
MUTATES: Final[dict[str, Any]] = {"parameters": [_KEY_PARAMETER, _SOCKET_PARAMETER]}
"""`openapi_extra` of calls that change state."""
MUTATES_VERSION: Final[dict[str, Any]] = {"parameters": [_KEY_PARAMETER, _SOCKET_PARAMETER, MATCH_PARAMETER]}


def install_openapi(app: FastAPI) -> None:
    """Make `app.openapi()` complete; the document is built on the first call and kept."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    _, answers = msgspec.json.schema_components(Answer.__subclasses__(), ref_template=_REFERENCE)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {name: _exact_numbers(schema) for name, schema in answers.items()}
    schemas["Problem"] = _PROBLEM_SCHEMA
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.setdefault("security", [{"bearer": []}])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    add_links(document)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."}
    }
    return document


def _exact_numbers(node: Any) -> Any:
    """Amounts are JSON numbers here; msgspec's own default describes a decimal as a string."""
    if isinstance(node, dict):
        if node.get("format") == "decimal":
            return {"type": "number"} | {key: value for key, value in node.items() if key not in ("type", "format")}
        return {key: _exact_numbers(value) for key, value in node.items()}
    return [_exact_numbers(value) for value in node] if isinstance(node, list) else node
