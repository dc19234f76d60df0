"""Registering, logging in and refreshing: calls without a session, which run their transactions themselves."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Request, Response
from sharedjox_marketplace import idempotency
from sharedjox_marketplace.accounts.actions import (
    Device,
    Grant,
    RefreshAction,
    RefreshRefused,
    RegisterAction,
    StartSessionAction,
    StoreRehashAction,
)
from sharedjox_marketplace.accounts.errors import (
    InvalidCredentialsError,
    InvalidTokenError,
    RefreshTokenReusedError,
)
from sharedjox_marketplace.accounts.model import User
from sharedjox_marketplace.accounts.repository import find_user_by_email
from sharedjox_marketplace.accounts.rules import Role, normalize_email
from sharedjox_marketplace.idempotency import IdempotencyKey, IdempotencyKeyReusedError, StoredAnswer
from sharedjox_marketplace.unit_of_work import UnitOfWork

from sharedjox_api.http.answers import response_of, stored
from sharedjox_api.http.commands import idempotency_key, read_session
from sharedjox_api.http.request_context import current_request
from sharedjox_api.runtime import Runtime

from .schemas import LoginAnswer, LoginBody, RefreshBody, RegisterBody, user_answer

_ANONYMOUS: Final = "anonymous"
_NONCE: Final = bytes(12)  # every key below encrypts one answer only
_MAX_USER_AGENT: Final = 200


class Accounts:
    """What the public half of `/api/auth` does."""

    def __init__(self, request: Request, runtime: Runtime) -> None:
        self._request = request
        self._runtime = runtime

    async def register(self, body: RegisterBody) -> Response:
        """Make the account and log it in. Raises: EmailTakenError."""
        password_hash = await self._runtime.passwords.hash(body.password.get_secret_value())
        action = RegisterAction(
            email=body.email, name=body.name, password_hash=password_hash, role=Role(body.role), skills=body.skills
        )

        async def work(unit: UnitOfWork) -> StoredAnswer:
            user = await action(unit)
            return self._login_answer(await self._start(user)(unit), 201)

        return await self._once(work)

    async def log_in(self, body: LoginBody) -> Response:
        """Check the password and begin a session. Raises: InvalidCredentialsError, RateLimitedProblem."""
        runtime, password = self._runtime, body.password.get_secret_value()
        email = normalize_email(body.email)
        subject = hashlib.sha256(f"{email}|{current_request().address}".encode()).hexdigest()[:32]
        await runtime.limiter.check("login", subject, runtime.settings.login_attempts_per_minute)
        async with read_session(runtime) as session:
            user = await find_user_by_email(session, email)
        if not await runtime.passwords.verify(user.password_hash if user else None, password) or user is None:
            raise InvalidCredentialsError("the address or the password is wrong")
        rehash = None
        if runtime.passwords.needs_rehash(user.password_hash):
            rehash = StoreRehashAction(user.id, user.password_hash, await runtime.passwords.hash(password))

        async def work(unit: UnitOfWork) -> StoredAnswer:
            if rehash is not None:
                await rehash(unit)
            return self._login_answer(await self._start(user)(unit), 200)

        return await self._once(work)

    async def refresh(self, body: RefreshBody) -> Response:
        """Exchange the token. Raises: InvalidTokenError, RefreshTokenReusedError."""
        action = RefreshAction(body.refresh_token, self._session_lifetime())
        refused: RefreshRefused | None = None

        async def work(unit: UnitOfWork) -> StoredAnswer | None:
            nonlocal refused
            outcome = await action(unit)
            refused = outcome if isinstance(outcome, RefreshRefused) else None
            return self._login_answer(outcome, 200) if isinstance(outcome, Grant) else None

        response = await self._once(work)
        if refused is not None and refused.reused:
            raise RefreshTokenReusedError("this token was exchanged before; the session has ended, log in again")
        if refused is not None:
            raise InvalidTokenError("the refresh token is not valid or has expired; log in again")
        return response

    async def _once(self, work: Callable[[UnitOfWork], Awaitable[StoredAnswer | None]]) -> Response:
        """Run the transaction; with an Idempotency-Key its answer is kept, readable with the same request only."""
        key = await idempotency_key(self._request, _ANONYMOUS)
        if key is None:
            answer = await self._runtime.transactor.run(work, current_request())
            return response_of(answer or StoredAnswer(401, "", b""))
        ciphers = await self._ciphers(key)

        async def keyed(unit: UnitOfWork) -> tuple[StoredAnswer | None, bool]:
            before = await idempotency.claim(unit.session, key, unit.now)
            if before is not None:
                return _opened(before, ciphers), True
            answer = await work(unit)
            if answer is not None:
                await unit.flush()
                await idempotency.store(unit.session, key, _sealed(answer, ciphers[0]))
            return answer, False

        kept, replayed = await self._runtime.transactor.run(keyed, current_request())
        return response_of(kept or StoredAnswer(401, "", b""), replayed=replayed)

    async def _ciphers(self, key: IdempotencyKey) -> list[AESGCM]:
        """Tokens do not lie readable in the database: the cipher takes our secret, the caller's key and the body.

        The first seals; the others open what was sealed before the secret was rotated.
        """
        material = key.key.encode() + b"\n" + await self._request.body()
        return [
            AESGCM(HKDF(SHA256(), 32, salt=secret.encode(), info=b"idempotent answer").derive(material))
            for secret in self._runtime.settings.jwt_secrets
        ]

    def _start(self, user: User) -> StartSessionAction:
        agent = self._request.headers.get("user-agent")
        device = Device(agent[:_MAX_USER_AGENT] if agent else None, current_request().address)
        return StartSessionAction(user, self._session_lifetime(), device)

    def _session_lifetime(self) -> dt.timedelta:
        return dt.timedelta(days=self._runtime.settings.refresh_token_days)

    def _login_answer(self, grant: Grant, status: int) -> StoredAnswer:
        tokens = self._runtime.tokens
        return stored(
            LoginAnswer(
                user_answer(grant.user),
                tokens.issue(grant.user.id, grant.session_id),
                grant.refresh_token,
                "Bearer",
                tokens.lifetime_seconds,
            ),
            status,
        )


def _sealed(answer: StoredAnswer, cipher: AESGCM) -> StoredAnswer:
    return StoredAnswer(answer.status, answer.content_type, cipher.encrypt(_NONCE, answer.body, None))


def _opened(answer: StoredAnswer, ciphers: Sequence[AESGCM]) -> StoredAnswer:
    for cipher in ciphers:
        with contextlib.suppress(InvalidTag):
            return StoredAnswer(answer.status, answer.content_type, cipher.decrypt(_NONCE, answer.body, None))
    raise IdempotencyKeyReusedError("this Idempotency-Key came with another request; take a new one")
