"""Running actions and queries for a request: who asks, once only, in one transaction, answered after the commit."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request, Response
from sharedjox_marketplace import idempotency
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.accounts.repository import ActorReading, find_actor
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.errors import DomainError, ErrorKind
from sharedjox_marketplace.idempotency import IdempotencyKey, StoredAnswer
from sharedjox_marketplace.unit_of_work import UnitOfWork
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from sharedjox_api.auth.tokens import TokenClaims
from sharedjox_api.runtime import Runtime, runtime_of

from .answers import response_of
from .errors import MalformedHeaderProblem
from .problems import PROBLEM_JSON, domain_problem
from .request_context import current_request
from .routes import claims_of

_MAX_KEY_LENGTH: Final = 255
_Result = TypeVar("_Result")
Action = Callable[[UnitOfWork], Awaitable[_Result]]


class Command:
    """Runs one action for the request's user."""

    def __init__(self, request: Request, runtime: Runtime, key: IdempotencyKey | None) -> None:
        self.request = request
        self.runtime = runtime
        self._key = key

    async def run(
        self, build: Callable[[Actor], Action[_Result]], present: Callable[[_Result], StoredAnswer]
    ) -> Response:
        """Check the session, run what `build` makes for its user, and answer with what `present` makes of the result.

        With an Idempotency-Key the answer commits together with the state, and a repeat gets it again.
        """
        claims = claims_of(self.request)

        async def work(unit: UnitOfWork) -> tuple[StoredAnswer, bool]:
            # The key first: whoever logged out with a key may ask again and is told the same.
            if self._key is not None:
                before = await idempotency.claim(unit.session, self._key, unit.now)
                if before is not None:
                    return before, True
            actor = _require_live(await find_actor(unit.connection, claims.session_id, unit.now), claims)
            result = await build(actor)(unit)
            await unit.flush()
            answer = present(result)
            if self._key is not None:
                await idempotency.store(unit.session, self._key, answer)
            return answer, False

        try:
            answer, replayed = await self.runtime.transactor.run(work, current_request())
        except DomainError as error:
            answer, replayed = await self._refused(error)
        return response_of(answer, replayed=replayed)

    async def _refused(self, error: DomainError) -> tuple[StoredAnswer, bool]:
        """A refusal is an answer too, and a repeat gets it again; only who could not be told apart may try anew."""
        if (
            self._key is None
            or error.kind is ErrorKind.UNAUTHENTICATED
            or isinstance(error, idempotency.IdempotencyKeyReusedError)
        ):
            raise error
        key = self._key
        status, body = domain_problem(error)
        refusal = StoredAnswer(status, PROBLEM_JSON, body)

        async def keep(unit: UnitOfWork) -> StoredAnswer | None:
            before = await idempotency.claim(unit.session, key, unit.now)
            if before is None:
                await idempotency.store(unit.session, key, refusal)
            return before

        before = await self.runtime.transactor.run(keep, current_request())
        return (before, True) if before is not None else (refusal, False)


class Query:
    """Reads for the request's user, outside of any transaction: each statement sees what is committed."""

    def __init__(self, request: Request, runtime: Runtime) -> None:
        self.request = request
        self.runtime = runtime

    @property
    def user_id(self) -> int:
        """Whose token it is; nothing is known of their session yet."""
        return claims_of(self.request).user_id

    async def read(self, reading: ActorReading, **values: object) -> tuple[Actor, list[tuple[Any, ...]]]:
        """The user and the rows of one statement. Raises: InvalidTokenError."""
        claims = claims_of(self.request)
        async with self.runtime.reading_engine.connect() as connection:
            now = self.runtime.clock.now()
            actor, rows = await reading.run(connection, claims.session_id, now, **values)
        return _require_live(actor, claims), rows

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[AsyncConnection, Actor]]:
        """A connection and the user, once the log-in session was found live. Raises: InvalidTokenError."""
        claims = claims_of(self.request)
        async with self.runtime.reading_engine.connect() as connection:
            actor = await find_actor(connection, claims.session_id, self.runtime.clock.now())
            yield connection, _require_live(actor, claims)


def _require_live(actor: Actor | None, claims: TokenClaims) -> Actor:
    if actor is None or actor.id != claims.user_id:
        raise InvalidTokenError("the session has ended; log in again")
    return actor


@contextlib.asynccontextmanager
async def read_session(runtime: Runtime) -> AsyncIterator[AsyncSession]:
    """A session for reading whole objects."""
    async with AsyncSession(runtime.reading_engine, expire_on_commit=False, autoflush=False) as session:
        yield session


async def idempotency_key(request: Request, scope: str) -> IdempotencyKey | None:
    """The request's key. Raises: MalformedHeaderProblem."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise MalformedHeaderProblem("Idempotency-Key takes 1 to 255 printable ASCII characters")
    target = request.url.path + ("?" + request.url.query if request.url.query else "")
    return IdempotencyKey(scope, key, idempotency.fingerprint(request.method, target, await request.body()))


async def _command(request: Request) -> Command:
    key = await idempotency_key(request, f"user:{claims_of(request).user_id}")
    return Command(request, runtime_of(request), key)


async def _query(request: Request) -> Query:
    return Query(request, runtime_of(request))


CommandDep = Annotated[Command, Depends(_command)]
QueryDep = Annotated[Query, Depends(_query)]
