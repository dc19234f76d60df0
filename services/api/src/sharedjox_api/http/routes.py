"""Route classes: authentication before anything else is looked at, then the media type, then the exact body."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from sharedjox_marketplace.accounts.errors import InvalidTokenError

from sharedjox_api.auth.tokens import TokenClaims

from .arguments import Arguments, arguments_of
from .errors import UnsupportedMediaTypeProblem
from .json_body import parse_json
from .request_context import current_request

if TYPE_CHECKING:
    from sharedjox_api.runtime import Runtime

_CLAIMS: Final = "sharedjox.claims"
ADMITTED: Final = "sharedjox.admitted"
"""Set in the scope of a request that was let in already and takes FastAPI's way now."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ExactRequest(Request):
    """A request whose JSON is read by our parser. FastAPI keeps the parsed body for the length of the request."""

    async def json(self) -> Any:
        """The parsed body. Raises: MalformedJsonProblem."""
        return parse_json(await self.body())


class PublicRoute(APIRoute):
    """Anybody may call it."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler behind our checks."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            exact = ExactRequest(request.scope, request.receive)
            if ADMITTED not in request.scope:
                await self._let_in(exact)
            return await inner(exact)

        return handle

    @functools.cached_property
    def _arguments(self) -> Arguments | None:
        return arguments_of(self.dependant, self.body_field)

    @property
    def is_direct(self) -> bool:
        """Whether `answer` can serve it."""
        return self._arguments is not None

    async def answer(self, request: ExactRequest) -> Response | None:
        """Check and serve a request without FastAPI; None when something in it does not validate.

        Raises: DomainError, HTTPException.
        """
        await self._let_in(request)
        arguments = self._arguments
        values = await arguments.read(request) if arguments is not None else None
        return await arguments.call(**values) if arguments is not None and values is not None else None

    async def _let_in(self, request: ExactRequest) -> None:
        await self.admit(request)
        if self.body_field is not None and await request.body():
            _require_json(request)

    async def admit(self, request: Request) -> None:
        """Raises: RateLimitedProblem when the address asks too often."""
        runtime: Runtime = request.app.state.runtime
        address = current_request().address or "unknown"
        await runtime.limiter.check("address", address, runtime.settings.rate_limit_address_per_minute)


class AuthenticatedRoute(PublicRoute):
    """A bearer token is needed. That its session is live is checked with the first query, in the same transaction."""

    async def admit(self, request: Request) -> None:
        """Raises: InvalidTokenError, RateLimitedProblem when the user asks too often."""
        runtime: Runtime = request.app.state.runtime
        try:
            claims = runtime.tokens.claims_of(request.headers.get("authorization"))
        except InvalidTokenError:
            await super().admit(request)
            raise
        request.scope[_CLAIMS] = claims
        await runtime.limiter.check("user", str(claims.user_id), runtime.settings.rate_limit_user_per_minute)


def claims_of(request: Request) -> TokenClaims:
    """The verified token of an authenticated route's request."""
    claims: TokenClaims = request.scope[_CLAIMS]
    return claims


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaTypeProblem("this call reads application/json")
