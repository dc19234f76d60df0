"""`/api/auth`."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request, Response
from sharedjox_marketplace.accounts.actions import RevokeSessionAction, UpdateAccountAction
from sharedjox_marketplace.accounts.errors import (
    EmailTakenError,
    InvalidCredentialsError,
    InvalidTokenError,
    RefreshTokenReusedError,
    SessionNotFoundError,
)
from sharedjox_marketplace.accounts.repository import find_user, list_sessions
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.idempotency import IdempotencyKeyReusedError

from sharedjox_api.http.answers import json_response, stored
from sharedjox_api.http.commands import CommandDep, QueryDep
from sharedjox_api.http.errors import MalformedHeaderProblem, ValidationProblem
from sharedjox_api.http.openapi import MUTATES, PUBLIC_WITH_KEY, READS_BODY, documented
from sharedjox_api.http.routes import AuthenticatedRoute, PublicRoute
from sharedjox_api.runtime import runtime_of

from .schemas import (
    LOGIN_EXAMPLE,
    USER_EXAMPLE,
    LoginAnswer,
    LoginBody,
    RefreshBody,
    RegisterBody,
    SessionsAnswer,
    UpdateAccountBody,
    UserAnswer,
    session_answer,
    user_answer,
)
from .service import Accounts

public = APIRouter(prefix="/api/auth", tags=["accounts"], route_class=PublicRoute)
router = APIRouter(prefix="/api/auth", tags=["accounts"], route_class=AuthenticatedRoute)


@public.post(
    "/register",
    status_code=201,
    openapi_extra=PUBLIC_WITH_KEY,
    responses=documented(
        LoginAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        EmailTakenError,
        IdempotencyKeyReusedError,
        status=201,
        example=LOGIN_EXAMPLE,
    ),
)
async def register(request: Request, body: RegisterBody) -> Response:
    """Make an account and log in."""
    return await Accounts(request, runtime_of(request)).register(body)


@public.post(
    "/login",
    openapi_extra=PUBLIC_WITH_KEY,
    responses=documented(
        LoginAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidCredentialsError,
        IdempotencyKeyReusedError,
        example=LOGIN_EXAMPLE,
    ),
)
async def log_in(request: Request, body: LoginBody) -> Response:
    """Begin a session."""
    return await Accounts(request, runtime_of(request)).log_in(body)


@public.post(
    "/refresh",
    openapi_extra=PUBLIC_WITH_KEY,
    responses=documented(
        LoginAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        RefreshTokenReusedError,
        IdempotencyKeyReusedError,
        example=LOGIN_EXAMPLE,
    ),
)
async def refresh(request: Request, body: RefreshBody) -> Response:
    """Exchange the refresh token for a new pair. Each refresh token works once; a second use ends the session."""
    return await Accounts(request, runtime_of(request)).refresh(body)


@router.post(
    "/logout",
    status_code=204,
    openapi_extra=MUTATES,
    responses=documented(
        None,
        MalformedHeaderProblem,
        InvalidTokenError,
        IdempotencyKeyReusedError,
        status=204,
        description="Logged out",
    ),
)
async def log_out(command: CommandDep) -> Response:
    """End this session at once: its tokens count no more and its sockets are closed."""
    return await command.run(
        lambda actor: RevokeSessionAction(actor, uuid.UUID(actor.session_id)), lambda _nothing: stored(None, 204)
    )


@router.get("/me", responses=documented(UserAnswer, InvalidTokenError, example=USER_EXAMPLE))
async def me(query: QueryDep) -> Response:
    """Who is logged in."""
    async with query.open() as (connection, actor):
        user = await find_user(connection, actor.id)
    if user is None:
        raise InvalidTokenError("the account is gone")
    return json_response(user_answer(user))


@router.patch(
    "/me",
    openapi_extra=MUTATES,
    responses=documented(
        UserAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        NotAllowedError,
        IdempotencyKeyReusedError,
        example=USER_EXAMPLE,
    ),
)
async def update_me(command: CommandDep, body: UpdateAccountBody) -> Response:
    """Change the name, the skills, or whether new jobs that fit are told (freelancers)."""
    return await command.run(
        lambda actor: UpdateAccountAction(actor, body.name, body.skills, body.job_alerts),
        lambda user: stored(user_answer(user)),
    )


@router.get("/sessions", responses=documented(SessionsAnswer, InvalidTokenError))
async def sessions(query: QueryDep) -> Response:
    """The user's live log-ins."""
    async with query.open() as (connection, actor):
        found = await list_sessions(connection, actor.id, query.runtime.clock.now())
    return json_response(SessionsAnswer([session_answer(one, actor.session_id) for one in found]))


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    openapi_extra=MUTATES,
    responses=documented(
        None,
        MalformedHeaderProblem,
        ValidationProblem,
        InvalidTokenError,
        SessionNotFoundError,
        IdempotencyKeyReusedError,
        status=204,
        description="Session ended",
    ),
)
async def revoke_session(command: CommandDep, session_id: uuid.UUID) -> Response:
    """End one of the user's log-ins, on whatever device it is."""
    return await command.run(
        lambda actor: RevokeSessionAction(actor, session_id, "revoked"), lambda _nothing: stored(None, 204)
    )
