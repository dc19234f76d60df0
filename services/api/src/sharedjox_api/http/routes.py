"""Route classes: authentication before anything else is looked at, then the media type, then the exact body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from sharedjox_marketplace.accounts.errors import InvalidTokenError

from sharedjox_api.auth.tokens import TokenClaims

from .errors import UnsupportedMediaTypeProblem
from .json_body import parse_json
from .request_context import current_request

if TYPE_CHECKING:
    from sharedjox_api.runtime import Runtime

_CLAIMS: Final = "sharedjox.claims"
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
        reads_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            await self.admit(request)
            exact = ExactRequest(request.scope, request.receive)
            if reads_body and await exact.body():
                _require_json(exact)
            return await inner(exact)

        return handle

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
