"""`/api/notifications` and `/api/push`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.idempotency import IdempotencyKeyReusedError
from sharedjox_marketplace.notifications.actions import (
    MarkNotificationReadAction,
    NotificationNotFoundError,
    PushSubscriptionNotFoundError,
    SubscribePushAction,
    UnsubscribePushAction,
)
from sharedjox_marketplace.notifications.push_rules import BadEndpointError, check_endpoint, public_vapid_key
from sharedjox_marketplace.notifications.repository import NotificationRecord, newest_notifications

from sharedjox_api.http.answers import decode_cursor, json_response, page_response, stored
from sharedjox_api.http.commands import CommandDep, QueryDep
from sharedjox_api.http.errors import InvalidCursorProblem, MalformedHeaderProblem, ValidationProblem
from sharedjox_api.http.openapi import MUTATES, READS_BODY, documented
from sharedjox_api.http.parameters import PAGE, Cursor, Limit, RowId
from sharedjox_api.http.routes import AuthenticatedRoute

from .schemas import (
    NOTIFICATION_EXAMPLE,
    NotificationAnswer,
    PublicKeyAnswer,
    PushSubscriptionAnswer,
    PushSubscriptionBody,
    notification_answer,
    push_subscription_answer,
)

router = APIRouter(prefix="/api/notifications", tags=["notifications"], route_class=AuthenticatedRoute)
push = APIRouter(prefix="/api/push", tags=["notifications"], route_class=AuthenticatedRoute)


@router.get(
    "",
    responses=documented(
        NotificationAnswer,
        InvalidTokenError,
        ValidationProblem,
        InvalidCursorProblem,
        page=True,
        example=NOTIFICATION_EXAMPLE,
    ),
)
async def notifications(
    query: QueryDep,
    unread: Annotated[bool, Query(description="Only those not read yet.")] = False,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """The user's notifications, newest first."""
    before_id = decode_cursor(cursor)
    reading, values = newest_notifications(query.user_id, before_id=before_id, limit=limit, unread_only=unread)
    _, rows = await query.read(reading, **values)
    return page_response([NotificationRecord(*row) for row in rows], limit, notification_answer)


@router.post(
    "/{id}/read",
    openapi_extra=MUTATES,
    responses=documented(
        NotificationAnswer,
        MalformedHeaderProblem,
        InvalidTokenError,
        NotificationNotFoundError,
        ValidationProblem,
        IdempotencyKeyReusedError,
        example=NOTIFICATION_EXAMPLE | {"readAt": "2026-02-21T10:06:00Z"},
    ),
)
async def mark_read(command: CommandDep, notification_id: RowId) -> Response:
    """Mark a notification as read; a second time changes nothing."""
    return await command.run(
        lambda actor: MarkNotificationReadAction(actor, notification_id),
        lambda notification: stored(notification_answer(notification)),
    )


@push.get("/public-key", responses=documented(PublicKeyAnswer, InvalidTokenError))
async def public_key(query: QueryDep) -> Response:
    """The key that browsers subscribe with."""
    async with query.open():
        private = query.runtime.settings.vapid_private_key.get_secret_value()
    return json_response(PublicKeyAnswer(public_vapid_key(private)))


@push.post(
    "/subscriptions",
    status_code=201,
    openapi_extra=MUTATES,
    responses=documented(
        PushSubscriptionAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        IdempotencyKeyReusedError,
        status=201,
    ),
)
async def subscribe(command: CommandDep, body: PushSubscriptionBody) -> Response:
    """Register a browser for Web Push."""
    allow_loopback = command.runtime.settings.app_env.allows_sample_secrets
    try:
        check_endpoint(body.endpoint, allow_loopback=allow_loopback)
    except BadEndpointError as error:
        raise ValidationProblem(
            f"body.endpoint: {error}", errors=[{"field": "body.endpoint", "message": str(error)}]
        ) from error
    return await command.run(
        lambda actor: SubscribePushAction(actor, body.endpoint, body.keys.p256dh, body.keys.auth),
        lambda subscription: stored(push_subscription_answer(subscription), 201),
    )


@push.delete(
    "/subscriptions/{id}",
    status_code=204,
    openapi_extra=MUTATES,
    responses=documented(
        None,
        MalformedHeaderProblem,
        InvalidTokenError,
        PushSubscriptionNotFoundError,
        ValidationProblem,
        IdempotencyKeyReusedError,
        status=204,
        description="Forgotten",
    ),
)
async def unsubscribe(command: CommandDep, subscription_id: RowId) -> Response:
    """Forget a browser."""
    return await command.run(
        lambda actor: UnsubscribePushAction(actor, subscription_id), lambda _nothing: stored(None, 204)
    )


@push.delete(
    "/subscriptions",
    status_code=204,
    openapi_extra=MUTATES,
    responses=documented(
        None,
        MalformedHeaderProblem,
        InvalidTokenError,
        PushSubscriptionNotFoundError,
        ValidationProblem,
        IdempotencyKeyReusedError,
        status=204,
        description="Forgotten",
    ),
)
async def unsubscribe_endpoint(
    command: CommandDep, endpoint: Annotated[str, Query(min_length=1, max_length=2000)]
) -> Response:
    """Forget a browser by its endpoint, which is all that a page knows of its own subscription."""
    return await command.run(
        lambda actor: UnsubscribePushAction(actor, endpoint=endpoint), lambda _nothing: stored(None, 204)
    )
