"""Every route of the OpenAPI document, asked by everybody there is. A route without a row fails.

`client` and `freelancer` are the parties of the job that the route is about; the others have nothing to do with it.
Each cell starts from a fresh job, so that no answer depends on the one before.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sharedjox_api.app import create_app
from sharedjox_api.auth.tokens import AccessTokens
from sharedjox_api.settings import ApiSettings

from .harness import JOB, Api, Person

EVERYBODY = ("anonymous", "expired", "other_client", "other_freelancer", "client", "freelancer", "operator")
KEYS = {
    "p256dh": "BG_wO5SSQc4drdQ1GeaWDgqFtBppoFwygQOqK84VlMoWPE91OlW_AdxT9sCwx-7ni0DG_30lqW4igrmJzvccFEo",
    "auth": "a" * 22,
}


@dataclass(slots=True)
class World:
    """Who is there."""

    api: Api
    client: Person
    freelancer: Person
    other_client: Person
    other_freelancer: Person
    operator: Person

    def headers_of(self, who: str) -> dict[str, str]:
        """What somebody sends."""
        if who == "anonymous":
            return {}
        if who == "expired":
            late = AccessTokens(self.api.runtime.settings.jwt_secret.get_secret_value(), lifetime_seconds=-5)
            return {"Authorization": f"Bearer {late.issue(self.client.id, _session_of(self.client))}"}
        person: Person = getattr(self, who)
        return person.headers


def _session_of(person: Person) -> uuid.UUID:
    return uuid.UUID(person.actor.session_id)


Prepared = tuple[str, Any]
"""The path to ask for, and the body."""


async def _nothing(_world: World) -> Prepared:
    return "", None


def _body(body: Any) -> Callable[[World], Awaitable[Prepared]]:
    async def prepare(_world: World) -> Prepared:
        return "", body

    return prepare


async def _active_job(world: World) -> Prepared:
    return str(await world.api.job(world.client)), None


async def _claimed_job(world: World) -> Prepared:
    return str(await world.api.claimed_job(world.client, world.freelancer)), {"status": "in_progress"}


async def _job_to_cancel(world: World) -> Prepared:
    return str(await world.api.job(world.client)), {"status": "cancelled"}


async def _earning(world: World) -> Prepared:
    await world.api.completed_job(world.client, world.freelancer)
    page = await world.api.get(world.freelancer, "/api/wallet/transactions", type="job_earning", limit=1)
    return str(page.json()["items"][0]["id"]), None


async def _deposit(world: World) -> Prepared:
    return str((await world.api.ok(world.client, "/api/wallet/deposits", {"amount": 5}))["id"]), None


async def _notification(world: World) -> Prepared:
    await world.api.claimed_job(world.client, world.freelancer)
    page = await world.api.get(world.client, "/api/notifications", limit=1)
    return str(page.json()["items"][0]["id"]), None


async def _push(world: World) -> Prepared:
    body = {"endpoint": "https://push.example.net/client", "keys": KEYS}
    return str((await world.api.ok(world.client, "/api/push/subscriptions", body))["id"]), None


async def _push_endpoint(world: World) -> Prepared:
    await _push(world)
    return "?endpoint=https://push.example.net/client", None


async def _session(world: World) -> Prepared:
    return await world.api.log_in_again(world.client), None


async def _private_job(world: World) -> Prepared:
    job = await world.api.claimed_job(world.client, world.freelancer)
    return "", {"socket_id": "1.2", "channel_name": f"private-job.{job}"}


def _statuses(*, signed_in: int, **others: int) -> dict[str, int]:
    """One row: nobody without a valid token gets in, everybody else gets `signed_in` unless said otherwise."""
    return dict.fromkeys(EVERYBODY, signed_in) | {"anonymous": 401, "expired": 401} | others


def _public(status: int) -> dict[str, int]:
    return dict.fromkeys(EVERYBODY, status)


Row = tuple[Callable[[World], Awaitable[Prepared]], dict[str, int]]
NEW = {"name": "New", "email": "new@example.test", "password": "long enough", "role": "client"}

MATRIX: dict[str, list[Row]] = {
    "GET /healthz": [(_nothing, _public(200))],
    "GET /readyz": [(_nothing, _public(200))],
    "GET /metrics": [(_nothing, _public(200))],
    "POST /api/auth/register": [(_body(NEW | {"role": "operator"}), _public(422))],
    "POST /api/auth/login": [(_body({"email": "nobody@example.test", "password": "x"}), _public(401))],
    "POST /api/auth/refresh": [(_body({"refreshToken": "x"}), _public(401))],
    "POST /api/auth/logout": [(_nothing, _statuses(signed_in=204))],
    "GET /api/auth/me": [(_nothing, _statuses(signed_in=200))],
    "PATCH /api/auth/me": [
        (_body({"name": "Renamed"}), _statuses(signed_in=200)),
        (_body({"jobAlerts": True}), _statuses(signed_in=403, freelancer=200, other_freelancer=200)),
    ],
    "GET /api/auth/sessions": [(_nothing, _statuses(signed_in=200))],
    "DELETE /api/auth/sessions/{session_id}": [(_session, _statuses(signed_in=404, client=204))],
    "POST /api/jobs": [
        (_body(JOB), _statuses(signed_in=403, client=201, other_client=201)),
    ],
    "GET /api/jobs": [(_nothing, _statuses(signed_in=200))],
    "GET /api/jobs/mine": [(_nothing, _statuses(signed_in=200))],
    "GET /api/jobs/{id}": [(_active_job, _statuses(signed_in=200))],
    "POST /api/jobs/{id}/claim": [
        (_active_job, _statuses(signed_in=403, freelancer=200, other_freelancer=200)),
        (_claimed_job, _statuses(signed_in=403, freelancer=409, other_freelancer=409)),
    ],
    "POST /api/jobs/{id}/status": [
        (_claimed_job, _statuses(signed_in=403, freelancer=200)),
        (_job_to_cancel, _statuses(signed_in=403, client=200)),
    ],
    "GET /api/wallet": [(_nothing, _statuses(signed_in=200))],
    "GET /api/wallet/statement": [(_nothing, _statuses(signed_in=200))],
    "GET /api/wallet/transactions": [(_nothing, _statuses(signed_in=200))],
    "POST /api/wallet/deposits": [(_body({"amount": 1}), _statuses(signed_in=201, operator=403))],
    "POST /api/wallet/withdrawals": [
        (_body({"amount": 1}), _statuses(signed_in=409, client=201, operator=403)),
    ],
    "POST /api/wallet/transactions/{id}/confirm": [
        (_earning, _statuses(signed_in=403, client=200, operator=200)),
        (_deposit, _statuses(signed_in=403, operator=200)),
    ],
    "POST /api/wallet/transactions/{id}/reject": [
        (_earning, _statuses(signed_in=403, client=200, operator=200)),
        (_deposit, _statuses(signed_in=403, operator=200)),
    ],
    "GET /api/notifications": [(_nothing, _statuses(signed_in=200))],
    "POST /api/notifications/{id}/read": [(_notification, _statuses(signed_in=404, client=200))],
    "GET /api/push/public-key": [(_nothing, _statuses(signed_in=200))],
    "POST /api/push/subscriptions": [
        (_body({"endpoint": "https://push.example.net/x", "keys": KEYS}), _statuses(signed_in=201)),
    ],
    "DELETE /api/push/subscriptions/{id}": [(_push, _statuses(signed_in=404, client=204))],
    "DELETE /api/push/subscriptions": [(_push_endpoint, _statuses(signed_in=404, client=204))],
    "GET /api/analytics/realtime": [(_nothing, _statuses(signed_in=403, operator=200))],
    "POST /broadcasting/auth": [(_private_job, _statuses(signed_in=403, client=200, freelancer=200))],
    "POST /broadcasting/user-auth": [(_body({"socket_id": "1.2"}), _statuses(signed_in=200))],
}


def _routes() -> set[str]:
    document = create_app(ApiSettings()).openapi()
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def test_every_route_has_a_row() -> None:
    assert _routes() == set(MATRIX)


@pytest.mark.parametrize("route", sorted(MATRIX))
async def test_who_may(api: Api, route: str) -> None:
    method, path = route.split(" ")
    for prepare, expected in MATRIX[route]:
        got = {}
        for who in EVERYBODY:
            client, freelancer = await api.parties()
            others = [await api.person(role) for role in ("client", "freelancer", "operator")]
            world = World(api, client, freelancer, *others)
            named, body = await prepare(world)
            asked = path + named if named.startswith("?") else _filled(path, named)
            answer = await api.http.request(method, asked, json=body, headers=world.headers_of(who))
            got[who] = answer.status_code
        assert got == expected, route


def _filled(path: str, named: str) -> str:
    return path.replace("{id}", named).replace("{session_id}", named)
