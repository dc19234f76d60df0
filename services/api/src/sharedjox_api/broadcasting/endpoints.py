"""`/broadcasting`: what Echo and pusher-js ask before they join a channel or sign in."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from msgspec import UNSET
from sharedjox_contracts import signatures
from sharedjox_contracts.codec import encode_json_text
from sharedjox_marketplace import channel_rules
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.channel_rules import Viewer
from sharedjox_marketplace.context import Actor

from sharedjox_api.http.answers import json_response
from sharedjox_api.http.commands import Query, QueryDep
from sharedjox_api.http.errors import ChannelRefusedProblem
from sharedjox_api.http.openapi import READS_BODY, documented
from sharedjox_api.http.routes import AuthenticatedRoute, claims_of

from .grants import Grants
from .schemas import (
    CHANNEL_BODY,
    USER_BODY,
    ChannelAuthAnswer,
    UserAuthAnswer,
    optional_client_id,
    read_fields,
    required_channel,
    required_socket_id,
)

router = APIRouter(prefix="/broadcasting", tags=["channels"], route_class=AuthenticatedRoute)

_EXAMPLE: Final = {"auth": "sharedjox:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"}


def _grants(query: Query) -> Grants:
    settings = query.runtime.settings
    return Grants(
        query.runtime.redis,
        app_id=settings.reverb_app_id,
        wait_seconds=settings.grant_wait_seconds,
        lifetime_seconds=settings.grant_lifetime_seconds,
    )


@router.post(
    "/auth",
    openapi_extra=CHANNEL_BODY,
    responses=documented(ChannelAuthAnswer, *READS_BODY, InvalidTokenError, ChannelRefusedProblem, example=_EXAMPLE),
)
async def authorize_channel(request: Request, query: QueryDep) -> Response:
    """Sign a channel for a connection, if its user may join."""
    fields = await read_fields(request)
    socket_id, channel, client_id = required_socket_id(fields), required_channel(fields), optional_client_id(fields)
    # A look before the grant keeps refused names out of Redis; the look that counts comes after it.
    await _decide(query, channel)
    claims = claims_of(request)
    grants = _grants(query)
    denial = await grants.record(
        socket_id=socket_id, user_id=claims.user_id, session_id=str(claims.session_id), channel=channel
    )
    actor, decision = await _decide(query, channel)
    if denial is not None:
        await grants.lift(socket_id=socket_id, channel=channel, denial=denial)
    data = _channel_data(actor, decision, client_id)
    settings = query.runtime.settings
    auth = signatures.channel_auth(
        key=settings.reverb_app_key,
        secret=settings.reverb_app_secret.get_secret_value(),
        socket_id=socket_id,
        channel=channel,
        channel_data=data,
    )
    return json_response(ChannelAuthAnswer(auth, UNSET if data is None else data))


async def _decide(query: Query, channel: str) -> tuple[Actor, channel_rules.Decision]:
    async with query.open() as (connection, actor):
        decision = await channel_rules.decide(connection, Viewer(actor.id, actor.role, actor.name), channel)
    if decision is False:
        raise ChannelRefusedProblem("you may not join this channel")
    return actor, decision


def _channel_data(actor: Actor, decision: channel_rules.Decision, client_id: str | None) -> str | None:
    """Presence channels say who joins; a `client_id` is bound to the user by the same signature."""
    data: dict[str, Any] = {"user_id": actor.id}
    if isinstance(decision, bool):
        if client_id is None:
            return None
    else:
        data["user_info"] = decision
    if client_id is not None:
        data["client_id"] = client_id
    return encode_json_text(data)


@router.post(
    "/user-auth",
    openapi_extra=USER_BODY,
    responses=documented(
        UserAuthAnswer,
        *READS_BODY,
        InvalidTokenError,
        example=_EXAMPLE
        | {"user_data": '{"id":"3","user_info":{"id":3,"name":"Frida Freelancer","role":"freelancer"}}'},
    ),
)
async def authorize_user(request: Request, query: QueryDep) -> Response:
    """Sign the user's identity for a connection (`pusher.signin()`)."""
    socket_id = required_socket_id(await read_fields(request))
    claims = claims_of(request)
    await _grants(query).record(
        socket_id=socket_id, user_id=claims.user_id, session_id=str(claims.session_id), channel=None
    )
    async with query.open() as (_connection, actor):
        info = {"id": actor.id, "name": actor.name, "role": actor.role.value}
    # The id is a string: pusher-js gives up on anything else without a word.
    user_data = encode_json_text({"id": str(actor.id), "user_info": info})
    settings = query.runtime.settings
    auth = signatures.user_auth(
        key=settings.reverb_app_key,
        secret=settings.reverb_app_secret.get_secret_value(),
        socket_id=socket_id,
        user_data=user_data,
    )
    return json_response(UserAuthAnswer(auth, user_data))
