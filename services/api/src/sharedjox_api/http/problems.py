"""Every error answer: RFC 9457 problem documents with a stable `code`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sharedjox_contracts.codec import encode_json
from sharedjox_kit.logs import get_logger
from sharedjox_marketplace.database import is_database_away, is_worth_another_try
from sharedjox_marketplace.errors import DomainError, ErrorKind
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from .errors import HttpProblem, InternalProblem, MethodNotAllowedProblem, NotFoundProblem, UnavailableProblem
from .request_context import current_request_id

_log = get_logger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:sharedjox:problem:"
_MAX_LISTED_ERRORS: Final = 20

STATUS_OF_KIND: Final = {
    ErrorKind.INVALID: 422,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.PRECONDITION: 412,
}
_BEARER_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="sharedjox"'}


def problem_body(status: int, code: str, title: str, detail: str, facts: Mapping[str, Any]) -> bytes:
    """The document. `facts` are its extension members."""
    document = {"type": TYPE_PREFIX + code, "title": title, "status": status, "detail": detail, "code": code}
    request_id = current_request_id()
    if request_id:
        document["requestId"] = request_id
    return encode_json(document | {name: fact for name, fact in facts.items() if name not in document})


def domain_problem(error: DomainError) -> tuple[int, bytes]:
    """Status and body for a refusal of the marketplace."""
    status = STATUS_OF_KIND[error.kind]
    return status, problem_body(status, error.code, error.title, error.detail, error.facts)


def http_problem(problem: HttpProblem) -> Response:
    """The answer for a refusal of the edge."""
    body = problem_body(problem.status, problem.code, problem.title, str(problem.detail), problem.facts)
    return Response(body, problem.status, media_type=PROBLEM_JSON, headers=problem.headers)


def domain_response(error: DomainError) -> Response:
    """The answer for a refusal of the marketplace."""
    status, body = domain_problem(error)
    headers = _BEARER_CHALLENGE if error.kind is ErrorKind.UNAUTHENTICATED else None
    return Response(body, status, media_type=PROBLEM_JSON, headers=headers)


def refusal_response(error: DomainError | HTTPException) -> Response:
    """The answer for a refusal, whoever's it is."""
    if isinstance(error, DomainError):
        return domain_response(error)
    return http_problem(error if isinstance(error, HttpProblem) else _known_problem(error))


def exception_response(error: Exception) -> Response:
    """The answer for anything else that a request ended in; what is our fault is logged."""
    if is_database_away(error) or is_worth_another_try(error):
        _log.warning("request.database_unavailable", error=str(error))
        return http_problem(UnavailableProblem("the database does not answer; try again", headers={"Retry-After": "1"}))
    if isinstance(error, PoolTimeoutError | ConnectionError | OSError | TimeoutError):
        _log.warning("request.unavailable", error=repr(error))
        return http_problem(UnavailableProblem("too busy just now; try again", headers={"Retry-After": "1"}))
    _log.error("request.failed", exc_info=error)
    return http_problem(InternalProblem("something went wrong on our side"))


def add_problem_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Turn every exception that a route raises into a problem document. `routes`: all that the api serves."""

    async def on_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, DomainError | HTTPException)  # noqa: S101 - FastAPI calls by type
        if isinstance(error, DomainError | HttpProblem) or error.status_code not in (404, 405):
            return refusal_response(error)
        return http_problem(_nowhere(request, routes, error))

    async def on_validation_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - FastAPI calls by type
        return _validation_response(error)

    app.add_exception_handler(DomainError, on_refusal)
    app.add_exception_handler(HTTPException, on_refusal)
    app.add_exception_handler(RequestValidationError, on_validation_error)


def _nowhere(request: Request, routes: Iterable[BaseRoute], error: HTTPException) -> HttpProblem:
    """No route takes this path and method: is it the path, or only the method?

    The router's own answer names the methods of one route, and with the web app behind the api it has none at all.
    """
    path = request.scope["path"]
    methods = {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    if not methods:
        return _known_problem(error)
    if "GET" in methods:
        methods.add("HEAD")
    return MethodNotAllowedProblem("this path takes other methods", headers={"Allow": ", ".join(sorted(methods))})


def _known_problem(error: HTTPException) -> HttpProblem:
    if error.status_code == 404:
        return NotFoundProblem("there is nothing at this path")
    if error.status_code == 405:
        return MethodNotAllowedProblem("this path takes other methods", headers=error.headers or {"Allow": "GET, HEAD"})
    _log.error("request.unexpected_http_exception", status=error.status_code, detail=str(error.detail))
    return InternalProblem("something went wrong on our side")


def _validation_response(error: RequestValidationError) -> Response:
    listed = [
        {"field": ".".join(str(part) for part in one["loc"]), "message": _clean(one["msg"])}
        for one in error.errors()[:_MAX_LISTED_ERRORS]
    ]
    detail = f"{listed[0]['field']}: {listed[0]['message']}" if listed else "the request does not validate"
    body = problem_body(422, "validation-failed", "Request does not validate", detail, {"errors": listed})
    return Response(body, 422, media_type=PROBLEM_JSON)


def _clean(message: str) -> str:
    """Pydantic's sentence without its prefix, and without characters that UTF-8 cannot carry."""
    return message.removeprefix("Value error, ").encode("utf-8", "replace").decode()
