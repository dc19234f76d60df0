"""What an endpoint is called with, read from a request as its signature says.

FastAPI's `solve_dependencies` looks at everything that a signature could ask for, with every request: with its routing
as dear as a small answer itself (2026-11). Here that is looked at once, when the api starts. FastAPI stays the
authority: it words the refusal of what does not validate, and serves endpoints that ask for more than is known here.
"""

from __future__ import annotations

import inspect
import types
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from pydantic_core import PydanticUndefined
from starlette.datastructures import QueryParams

_SCALARS: Final = (str, int, bool, uuid.UUID, types.NoneType)
_Dependency = Callable[[Request], Awaitable[Any]]


class _Field(Protocol):
    """What we use of FastAPI's fields."""

    name: str
    field_info: Any

    @property
    def alias(self) -> str: ...

    def get_default(self) -> Any: ...

    def validate(self, value: Any) -> tuple[Any, list[dict[str, Any]]]: ...


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument: its name in the request, its own, and what it is when the request does not give it."""

    alias: str
    name: str
    field: _Field
    default: Any

    def read(self, value: Any) -> tuple[Any, bool]:
        """The argument, and whether it validates."""
        if value is PydanticUndefined:
            return self.default, self.default is not PydanticUndefined
        argument, errors = self.field.validate(value)
        return argument, not errors


@dataclass(frozen=True, slots=True)
class Arguments:
    """Reads the arguments of one endpoint, which is `call`."""

    call: Callable[..., Awaitable[Response]]
    request_name: str | None
    dependencies: tuple[tuple[str, _Dependency], ...]
    path: tuple[_Parameter, ...]
    query: tuple[_Parameter, ...]
    body: _Parameter | None

    async def read(self, request: Request) -> dict[str, Any] | None:
        """The arguments, or None when something does not validate. Raises: what dependencies and `json` raise."""
        values: dict[str, Any] = {}
        query_string = request.scope["query_string"]
        if not (
            _read_all(self.path, request.scope["path_params"], values)
            and _read_all(self.query, QueryParams(query_string) if query_string else {}, values)
        ):
            return None
        if self.body is not None:
            document = await request.json() if await request.body() else PydanticUndefined
            values[self.body.name], fits = self.body.read(document)
            if not fits:
                return None
        for name, dependency in self.dependencies:
            values[name] = await dependency(request)
        if self.request_name is not None:
            values[self.request_name] = request
        return values


def _read_all(parameters: tuple[_Parameter, ...], given: Mapping[str, Any], values: dict[str, Any]) -> bool:
    for parameter in parameters:
        values[parameter.name], fits = parameter.read(given.get(parameter.alias, PydanticUndefined))
        if not fits:
            return False
    return True


def arguments_of(dependant: Dependant, body_field: object | None) -> Arguments | None:
    """How to read them; None when the signature asks for something that only FastAPI knows how to give."""
    call = dependant.call
    if call is None or not _is_plain(dependant) or not _answers_itself(call):
        return None
    dependencies = [(wanted.name, wanted.call) for wanted in dependant.dependencies if _takes_the_request(wanted)]
    path, query, body = map(_parameters, (dependant.path_params, dependant.query_params, dependant.body_params))
    # A body of several parts is read as one object, whose field FastAPI makes itself.
    is_whole = not dependant.body_params or dependant.body_params == [body_field]
    if path is None or query is None or body is None or not is_whole:
        return None
    if len(dependencies) < len(dependant.dependencies) or not all(_is_scalar(one.field) for one in (*path, *query)):
        return None
    named = tuple((name, found) for name, found in dependencies if name is not None and found is not None)
    return Arguments(call, dependant.request_param_name, named, path, query, body[0] if body else None)


def _is_plain(dependant: Dependant) -> bool:
    others = (
        dependant.header_params,
        dependant.cookie_params,
        dependant.websocket_param_name,
        dependant.http_connection_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
        dependant.concurrency,
    )
    return not any(others) and inspect.iscoroutinefunction(dependant.call)


def _answers_itself(call: Callable[..., Any]) -> bool:
    """What an endpoint returns goes out as it is."""
    answer = get_type_hints(call).get("return")
    return isinstance(answer, type) and issubclass(answer, Response)


def _takes_the_request(dependant: Dependant) -> bool:
    """A dependency `f(request)`, and nothing else."""
    more = (dependant.dependencies, dependant.path_params, dependant.query_params, dependant.body_params)
    return (
        dependant.name is not None
        and dependant.request_param_name == "request"
        and not any(more)
        and _is_plain(dependant)
    )


def _parameters(fields: Iterable[_Field]) -> tuple[_Parameter, ...] | None:
    """None when one of them has several names, or a default that requests cannot share."""
    made = []
    for field in fields:
        other_names, default = field.field_info.validation_alias, field.get_default()
        can_share = default is PydanticUndefined or isinstance(default, _SCALARS)
        if not isinstance(other_names, str | None) or field.field_info.validate_default or not can_share:
            return None
        made.append(_Parameter(other_names or field.alias, field.name, field, default))
    return tuple(made)


def _is_scalar(field: _Field) -> bool:
    """Lists and models are put together from several values of the request."""

    def is_one(annotation: Any) -> bool:
        origin = get_origin(annotation)
        if origin is Literal:
            return True
        if origin is Annotated:
            return is_one(get_args(annotation)[0])
        if origin in (Union, types.UnionType):
            return all(map(is_one, get_args(annotation)))
        return isinstance(annotation, type) and issubclass(annotation, _SCALARS)

    return is_one(field.field_info.annotation)
