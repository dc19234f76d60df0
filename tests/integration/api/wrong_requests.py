"""Every way to be wrong that the api's contract names, by the problem code that it gives.

A line says what is wrong and asks for it. Each code has one line at least (test_problem_codes.py sees to it), and the
lines of one code share a world: whoever changes it makes a job or a person of their own.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
from sharedjox_api.auth.tokens import AccessTokens
from sharedjox_marketplace.wallet.actions import ReleaseDueEarnings

from .harness import JOB, Api, Person

NEW: Final = {"name": "Ada", "email": "ada@example.test", "password": "long enough", "role": "client"}
PUSH: Final = {
    "endpoint": "https://push.example.net/x",
    "keys": {
        "p256dh": "BG_wO5SSQc4drdQ1GeaWDgqFtBppoFwygQOqK84VlMoWPE91OlW_AdxT9sCwx-7ni0DG_30lqW4igrmJzvccFEo",
        "auth": "a" * 22,
    },
}
SOCKET: Final = "123.456"


@dataclass(slots=True)
class World:
    """People with nothing wrong about them, and what they ask."""

    api: Api
    client: Person
    freelancer: Person
    stranger: Person
    operator: Person

    async def ask(self, who: Person | None, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request; `body` as JSON, or as it is when it is bytes."""
        sent = dict(who.headers) if who else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        return await self.api.http.request(method, path, content=content, headers=sent)

    async def get(self, who: Person | None, path: str) -> httpx.Response:
        """GET."""
        return await self.ask(who, "GET", path)

    async def post(self, who: Person | None, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST."""
        return await self.ask(who, "POST", path, body, **headers)

    async def claim(self, job_id: int, body: Any = None, **headers: str) -> httpx.Response:
        """The freelancer claims."""
        return await self.post(self.freelancer, f"/api/jobs/{job_id}/claim", body, **headers)

    async def step(self, who: Person, job_id: int, status: str, **fields: Any) -> httpx.Response:
        """Somebody takes a job a step further, or tries."""
        return await self.post(who, f"/api/jobs/{job_id}/status", {"status": status} | fields)

    async def join(self, who: Person, channel: str, socket_id: str = SOCKET) -> httpx.Response:
        """Ask for a channel's signature."""
        return await self.post(who, "/broadcasting/auth", {"socket_id": socket_id, "channel_name": channel})

    async def posted(self, **fields: Any) -> int:
        """An active job of the client."""
        return await self.api.job(self.client, **fields)

    async def claimed(self) -> int:
        """A job that the freelancer has claimed."""
        return await self.api.claimed_job(self.client, self.freelancer)

    async def cancelled(self) -> int:
        """A job that the client has cancelled."""
        job_id = await self.posted()
        await self.api.move(self.client, job_id, "cancelled")
        return job_id

    async def deposit(self) -> int:
        """The id of a pending deposit of the client."""
        transaction_id: int = (await self.api.ok(self.client, "/api/wallet/deposits", {"amount": 5}))["id"]
        return transaction_id

    async def earning(self) -> int:
        """The id of an earning that the client has still to pay."""
        await self.api.completed_job(self.client, self.freelancer)
        newest = await self.get(self.freelancer, "/api/wallet/transactions?type=job_earning&limit=1")
        transaction_id: int = newest.json()["items"][0]["id"]
        return transaction_id

    async def decide(self, who: Person, transaction_id: int, decision: str = "confirm") -> httpx.Response:
        """Confirm or reject a transaction, or try."""
        return await self.post(who, f"/api/wallet/transactions/{transaction_id}/{decision}")


async def _expired(world: World) -> httpx.Response:
    late = AccessTokens(world.api.runtime.settings.jwt_secret.get_secret_value(), lifetime_seconds=-5)
    token = late.issue(world.client.id, uuid.UUID(world.client.actor.session_id))
    return await world.ask(None, "GET", "/api/auth/me", Authorization=f"Bearer {token}")


async def _logged_out(world: World) -> httpx.Response:
    person = await world.api.person("client")
    await world.api.ok(person, "/api/auth/logout")
    return await world.get(person, "/api/auth/me")


async def _refreshed_twice(world: World) -> httpx.Response:
    login = (await world.post(None, "/api/auth/register", NEW)).json()
    body = {"refreshToken": login["refreshToken"]}
    assert (await world.post(None, "/api/auth/refresh", body)).status_code == 200
    return await world.post(None, "/api/auth/refresh", body)


async def _wrong_password(world: World) -> httpx.Response:
    assert (await world.post(None, "/api/auth/register", NEW)).status_code == 201
    return await world.post(None, "/api/auth/login", {"email": NEW["email"], "password": "another"})


async def _registered_twice(world: World) -> httpx.Response:
    assert (await world.post(None, "/api/auth/register", NEW)).status_code == 201
    return await world.post(None, "/api/auth/register", NEW)


async def _decided_twice(world: World) -> httpx.Response:
    earning = await world.earning()
    assert (await world.decide(world.client, earning)).status_code == 200
    return await world.decide(world.client, earning)


async def _released_by_time(world: World) -> httpx.Response:
    """The worker was first: unconfirmed earnings are released after 72 hours."""
    earning = await world.earning()
    now = world.api.runtime.clock.now()
    assert await ReleaseDueEarnings(world.api.runtime.transactor)(now + dt.timedelta(hours=73)) == 1
    return await world.decide(world.client, earning, "reject")


async def _poor_client(world: World) -> httpx.Response:
    poor = await world.api.person("client", cents=49_99)
    return await world.claim(await world.api.job(poor))


async def _withdrawn_twice(world: World) -> httpx.Response:
    """A withdrawal holds its amount at once: the same money cannot be asked for again."""
    person = await world.api.person("client", cents=10_00)
    assert (await world.post(person, "/api/wallet/withdrawals", {"amount": 10})).status_code == 201
    return await world.post(person, "/api/wallet/withdrawals", {"amount": 0.01})


async def _key_with_another_body(world: World) -> httpx.Response:
    await world.post(world.client, "/api/wallet/deposits", {"amount": 1}, Idempotency_Key="k")
    return await world.post(world.client, "/api/wallet/deposits", {"amount": 2}, Idempotency_Key="k")


async def _stale_version(world: World) -> httpx.Response:
    job_id = await world.claimed()
    return await world.ask(
        world.freelancer, "POST", f"/api/jobs/{job_id}/status", {"status": "in_progress"}, If_Match='"1"'
    )


async def _too_often(world: World) -> httpx.Response:
    person = await world.api.person("client")
    for _ in range(3):
        assert (await world.get(person, "/api/wallet")).status_code == 200
    return await world.get(person, "/api/wallet")


async def _guessing(world: World) -> httpx.Response:
    for _ in range(3):
        assert (await world.post(None, "/api/auth/login", {"email": "a@b.test", "password": "x"})).status_code == 401
    return await world.post(None, "/api/auth/login", {"email": "a@b.test", "password": "x"})


def _while_postgres_says(state: str) -> Callable[[World], Awaitable[httpx.Response]]:
    async def ask(world: World) -> httpx.Response:
        await world.api.sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
        )
        await world.api.sql("CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()")
        return await world.post(world.client, "/api/jobs", JOB)

    return ask


async def _released_freelancer(world: World) -> httpx.Response:
    job_id = await world.claimed()
    await world.api.move(world.freelancer, job_id, "active")
    return await world.join(world.freelancer, f"private-job.{job_id}")


async def _onlooker(world: World) -> httpx.Response:
    return await world.join(world.stranger, f"presence-job.{await world.claimed()}")


Line = tuple[str, Callable[[World], Awaitable[httpx.Response]]]

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "rate-limited": {"rate_limit_user_per_minute": 3, "login_attempts_per_minute": 3},
}
"""What the api is set to for the lines of a code."""

WRONG: Final[dict[str, list[Line]]] = {
    "malformed-json": [
        ("a body that is no JSON", lambda w: w.post(w.client, "/api/jobs", b'{"title":')),
        ("a log-in that is no JSON", lambda w: w.post(None, "/api/auth/login", b"email=a")),
    ],
    "malformed-header": [
        ("an empty Idempotency-Key", lambda w: w.post(w.client, "/api/jobs", JOB, Idempotency_Key="")),
        ("a key of 256 characters", lambda w: w.post(w.client, "/api/jobs", JOB, Idempotency_Key="k" * 256)),
        ("an If-Match that is no ETag", lambda w: w.claim(1, If_Match="one")),
    ],
    "invalid-credentials": [
        ("an unknown address", lambda w: w.post(None, "/api/auth/login", {"email": "x@y.test", "password": "x"})),
        ("a wrong password", _wrong_password),
    ],
    "invalid-token": [
        ("no token", lambda w: w.get(None, "/api/wallet")),
        ("a bad token", lambda w: w.ask(None, "GET", "/api/wallet", Authorization="Bearer x.y.z")),
        ("an expired token", _expired),
        ("a token of a session that has ended", _logged_out),
        ("an unknown refresh token", lambda w: w.post(None, "/api/auth/refresh", {"refreshToken": "x"})),
        ("a channel without a token", lambda w: w.post(None, "/broadcasting/auth", {"socket_id": SOCKET})),
    ],
    "refresh-token-reused": [("a refresh token used twice", _refreshed_twice)],
    "channel-refused": [
        ("another user's channel", lambda w: w.join(w.client, f"private-user.{w.freelancer.id}")),
        ("the operators' channel", lambda w: w.join(w.client, "private-ops")),
        ("a job's channel after the release", _released_freelancer),
        ("onlookers once the job is claimed", _onlooker),
        ("a channel that nobody knows", lambda w: w.join(w.operator, "private-anything")),
    ],
    "forbidden": [
        ("a freelancer posts", lambda w: w.post(w.freelancer, "/api/jobs", JOB)),
        ("a client claims", lambda w: _then(w.posted(), lambda job: w.post(w.stranger, f"/api/jobs/{job}/claim"))),
        ("who is no party moves a job", lambda w: _then(w.claimed(), lambda job: w.step(w.stranger, job, "cancelled"))),
        ("the client starts work", lambda w: _then(w.claimed(), lambda job: w.step(w.client, job, "in_progress"))),
        ("the freelancer cancels", lambda w: _then(w.claimed(), lambda job: w.step(w.freelancer, job, "cancelled"))),
        ("an owner confirms a deposit", lambda w: _then(w.deposit(), lambda one: w.decide(w.client, one))),
        ("the freelancer confirms the earning", lambda w: _then(w.earning(), lambda one: w.decide(w.freelancer, one))),
        ("another client confirms it", lambda w: _then(w.earning(), lambda one: w.decide(w.stranger, one, "reject"))),
        ("an operator deposits", lambda w: w.post(w.operator, "/api/wallet/deposits", {"amount": 1})),
        ("a client looks at the operators' page", lambda w: w.get(w.client, "/api/analytics/realtime")),
        ("a client lists everybody's transactions", lambda w: w.get(w.client, "/api/wallet/transactions?scope=all")),
    ],
    "job-not-found": [
        ("a job that there is not", lambda w: w.get(w.client, "/api/jobs/999999")),
        ("a claim of none", lambda w: w.claim(999_999)),
        ("a step of none", lambda w: w.step(w.client, 999_999, "cancelled")),
    ],
    "transaction-not-found": [
        ("a confirmation of none", lambda w: w.decide(w.operator, 999_999)),
        ("a rejection of none", lambda w: w.decide(w.operator, 999_999, "reject")),
    ],
    "notification-not-found": [("one that is not there", lambda w: w.post(w.client, "/api/notifications/999/read"))],
    "push-subscription-not-found": [
        ("one that is not there", lambda w: w.ask(w.client, "DELETE", "/api/push/subscriptions/999")),
        ("an unknown endpoint", lambda w: w.ask(w.client, "DELETE", "/api/push/subscriptions?endpoint=https://a.test")),
    ],
    "session-not-found": [
        ("no session of the caller", lambda w: w.ask(w.client, "DELETE", f"/api/auth/sessions/{uuid.uuid4()}")),
        (
            "the session of somebody else",
            lambda w: w.ask(w.client, "DELETE", f"/api/auth/sessions/{w.stranger.actor.session_id}"),
        ),
    ],
    "not-found": [("a path that does not exist", lambda w: w.get(w.client, "/api/nothing"))],
    "method-not-allowed": [("a method that a path does not take", lambda w: w.ask(w.client, "PUT", "/api/wallet"))],
    "email-taken": [("the same address again", _registered_twice)],
    "job-already-claimed": [
        ("the second of two claims", lambda w: _then(w.claimed(), w.claim)),
        (
            "a claim by somebody else",
            lambda w: _then(
                w.claimed(),
                lambda job: _then(w.api.person("freelancer"), lambda f: w.post(f, f"/api/jobs/{job}/claim")),
            ),
        ),
    ],
    "job-not-active": [("a claim of a cancelled job", lambda w: _then(w.cancelled(), w.claim))],
    "invalid-transition": [
        ("completing before work began", lambda w: _then(w.claimed(), lambda job: w.step(w.client, job, "completed"))),
        (
            "submitting before work began",
            lambda w: _then(w.claimed(), lambda job: w.step(w.freelancer, job, "submitted", deliverables=["x"])),
        ),
        ("reviving a cancelled job", lambda w: _then(w.cancelled(), lambda job: w.step(w.client, job, "active"))),
        ("claiming by status", lambda w: _then(w.posted(), lambda job: w.step(w.client, job, "claimed"))),
    ],
    "insufficient-funds": [
        ("a claim that the client cannot pay", _poor_client),
        ("a withdrawal of more than there is", _withdrawn_twice),
    ],
    "transaction-not-pending": [
        ("a second confirmation", _decided_twice),
        ("a rejection after the release by time", _released_by_time),
    ],
    "version-mismatch": [("a step on an older version", _stale_version)],
    "body-too-large": [("a body over the limit", lambda w: w.post(w.client, "/api/jobs", b" " * 300_000))],
    "unsupported-media-type": [
        ("a body that is not JSON", lambda w: w.post(w.client, "/api/jobs", b"<a/>", Content_Type="application/xml")),
    ],
    "budget-range": [
        ("a minimum over the maximum", lambda w: w.post(w.client, "/api/jobs", JOB | {"budgetMin": 150.01})),
    ],
    "offer-outside-budget": [
        ("an offer above", lambda w: _then(w.posted(), lambda job: w.claim(job, {"offer": 150.01}))),
        ("an offer below", lambda w: _then(w.posted(), lambda job: w.claim(job, {"offer": 49.99}))),
    ],
    "idempotency-key-reused": [("the same key with another body", _key_with_another_body)],
    "invalid-cursor": [
        ("a cursor of one's own making", lambda w: w.get(w.client, "/api/jobs?cursor=abc")),
        ("another in a wallet", lambda w: w.get(w.client, "/api/wallet/statement?cursor=abc")),
    ],
    "validation-failed": [
        ("registering as operator", lambda w: w.post(None, "/api/auth/register", NEW | {"role": "operator"})),
        ("no e-mail address", lambda w: w.post(None, "/api/auth/register", NEW | {"email": "ada"})),
        ("a short password", lambda w: w.post(None, "/api/auth/register", NEW | {"password": "short"})),
        ("a job without a title", lambda w: w.post(w.client, "/api/jobs", JOB | {"title": ""})),
        ("money with three decimals", lambda w: w.post(w.client, "/api/wallet/deposits", {"amount": 1.005})),
        ("money that is text", lambda w: w.post(w.client, "/api/wallet/deposits", {"amount": "5"})),
        ("a negative amount", lambda w: w.post(w.client, "/api/wallet/withdrawals", {"amount": -1})),
        ("a status that there is not", lambda w: _then(w.claimed(), lambda job: w.step(w.client, job, "finished"))),
        ("a filter that there is not", lambda w: w.get(w.client, "/api/jobs?status=open")),
        ("a page of 101", lambda w: w.get(w.client, "/api/wallet/statement?limit=101")),
        ("an id that is no number", lambda w: w.get(w.client, "/api/jobs/one")),
        (
            "a push endpoint inside",
            lambda w: w.post(w.client, "/api/push/subscriptions", PUSH | {"endpoint": "http://x"}),
        ),
        ("a socket id that is none", lambda w: w.join(w.client, f"private-user.{w.client.id}", "1.1::user::{}")),
        ("a channel name that is none", lambda w: w.join(w.client, "private-user 1")),
    ],
    "rate-limited": [("too many requests of a user", _too_often), ("guessing passwords", _guessing)],
    "internal-error": [("a defect of ours", _while_postgres_says("58030"))],
    "temporarily-unavailable": [("a database that loses every race", _while_postgres_says("40001"))],
}


async def _then(first: Awaitable[Any], ask: Callable[[Any], Awaitable[httpx.Response]]) -> httpx.Response:
    """What `ask` says of what `first` made."""
    return await ask(await first)
