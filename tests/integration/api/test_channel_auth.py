"""`/broadcasting/auth` and `/broadcasting/user-auth`: who may join what, and the exact answers."""

from __future__ import annotations

import json

import pytest
from sharedjox_contracts import signatures
from sharedjox_contracts.redis_layout import grants_key, session_sockets_key
from sharedjox_marketplace import channel_rules

from .harness import Api, Person, make_settings, open_api

SOCKET = "123456789.987654321"
APP, KEY, SECRET = "1001", "sharedjox", "sharedjox-secret"


async def _ask(api: Api, person: Person | None, channel: str, **more: str) -> tuple[int, dict[str, str]]:
    form = {"socket_id": SOCKET, "channel_name": channel} | more
    answer = await api.http.post("/broadcasting/auth", data=form, headers=person.headers if person else {})
    return answer.status_code, answer.json()


async def _grants(api: Api, channel: str) -> list[bytes]:
    found: list[bytes] = await api.runtime.redis.zrange(grants_key(APP, channel), 0, -1)
    return found


async def test_anonymous_and_logged_out_callers_are_refused(api: Api) -> None:
    client, _ = await api.parties()
    await api.ok(client, "/api/auth/logout")
    for channel in ("private-job.1", f"private-user.{client.id}", "presence-job.1", "private-ops"):
        for person in (None, client):
            status, problem = await _ask(api, person, channel)
            assert (status, problem["code"]) == (401, "invalid-token")
        # The session is looked at before anything is granted.
        assert await _grants(api, channel) == []


async def test_private_job_is_for_its_parties(api: Api) -> None:
    client, freelancer = await api.parties()
    job_id = await api.claimed_job(client, freelancer)
    channel = f"private-job.{job_id}"
    for stranger in (await api.person("client"), await api.person("freelancer"), await api.person("operator")):
        status, problem = await _ask(api, stranger, channel)
        assert (status, problem["code"]) == (403, "channel-refused")
    assert await _grants(api, channel) == []
    for party in (client, freelancer):
        status, answer = await _ask(api, party, channel)
        signature = signatures.channel_auth(key=KEY, secret=SECRET, socket_id=SOCKET, channel=channel)
        assert (status, answer) == (200, {"auth": signature})
    await api.move(freelancer, job_id, "active")
    assert (await _ask(api, freelancer, channel))[0] == 403
    assert (await _ask(api, client, channel))[0] == 200


async def test_private_user_is_for_that_user(api: Api) -> None:
    client, freelancer = await api.parties()
    assert (await _ask(api, client, f"private-user.{freelancer.id}"))[0] == 403
    assert (await _ask(api, await api.person("operator"), f"private-user.{freelancer.id}"))[0] == 403
    assert (await _ask(api, freelancer, f"private-user.{freelancer.id}"))[0] == 200


async def test_presence_is_for_everybody_while_the_job_is_active(api: Api) -> None:
    client, freelancer = await api.parties()
    onlooker, operator = await api.person("freelancer"), await api.person("operator")
    job_id = await api.job(client)
    channel = f"presence-job.{job_id}"
    status, answer = await _ask(api, onlooker, channel)
    assert status == 200
    data = json.loads(answer["channel_data"])
    assert data == {
        "user_id": onlooker.id,
        "user_info": {"id": onlooker.id, "name": onlooker.actor.name, "role": "freelancer"},
    }
    assert answer["auth"] == signatures.channel_auth(
        key=KEY, secret=SECRET, socket_id=SOCKET, channel=channel, channel_data=answer["channel_data"]
    )
    await api.ok(freelancer, f"/api/jobs/{job_id}/claim")
    assert [(await _ask(api, who, channel))[0] for who in (onlooker, client, freelancer, operator)] == [
        403,
        200,
        200,
        200,
    ]


async def test_operations_channel_is_for_operators(api: Api) -> None:
    client, freelancer = await api.parties()
    assert [(await _ask(api, who, "private-ops"))[0] for who in (client, freelancer)] == [403, 403]
    assert (await _ask(api, await api.person("operator"), "private-ops"))[0] == 200


@pytest.mark.parametrize(
    "channel",
    ["private-job.0", "private-job.01", "private-job.-1", "private-job.999", "private-job.99999999999999999999",
     "private-anything", "presence-user.1", "private-encrypted-job.1", "jobs.discovery", "private-job.1.2"],
)  # fmt: skip
async def test_unknown_channels_are_refused(api: Api, channel: str) -> None:
    operator = await api.person("operator")
    assert (await _ask(api, operator, channel))[0] == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("socket_id", "1.1::user::{}"),
        ("socket_id", "1.1\n"),
        ("socket_id", "1"),
        ("socket_id", ""),
        ("socket_id", "1." + "1" * 100),
        ("channel_name", "private-job.1:extra"),
        ("channel_name", "private-job.1\n"),
        ("channel_name", ""),
        ("channel_name", "private-" + "x" * 200),
        ("client_id", "a b"),
    ],
)
async def test_odd_names_are_never_signed(api: Api, field: str, value: str) -> None:
    client = await api.person("client")
    fields = {"socket_id": SOCKET, "channel_name": f"private-user.{client.id}"} | {field: value}
    for body in ({"data": fields}, {"json": fields}):
        refused = await api.http.post("/broadcasting/auth", headers=client.headers, **body)  # type: ignore[arg-type]  # two kinds of body
        assert (refused.status_code, refused.json()["code"]) == (422, "validation-failed")


async def test_json_bodies_are_read_too(api: Api) -> None:
    client = await api.person("client")
    body = {"socket_id": SOCKET, "channel_name": f"private-user.{client.id}"}
    assert set(await api.ok(client, "/broadcasting/auth", body)) == {"auth"}


async def test_a_client_id_is_signed_with_the_user(api: Api) -> None:
    client = await api.person("client")
    channel = f"private-user.{client.id}"
    _, answer = await _ask(api, client, channel, client_id="tab-7")
    assert json.loads(answer["channel_data"]) == {"user_id": client.id, "client_id": "tab-7"}
    assert answer["auth"] == signatures.channel_auth(
        key=KEY, secret=SECRET, socket_id=SOCKET, channel=channel, channel_data=answer["channel_data"]
    )


async def test_a_grant_is_recorded_with_user_and_session(api: Api) -> None:
    client = await api.person("client")
    channel = f"private-user.{client.id}"
    await _ask(api, client, channel)
    assert await _grants(api, channel) == [f"{SOCKET}|{client.id}|{client.actor.session_id}".encode()]
    async with api.runtime.redis.pipeline() as pipeline:
        pipeline.smembers(session_sockets_key(APP, client.actor.session_id))
        assert await pipeline.execute() == [{SOCKET.encode()}]


async def test_user_auth_signs_a_string_id(api: Api) -> None:
    client = await api.person("client")
    assert (await api.http.post("/broadcasting/user-auth", data={"socket_id": SOCKET})).status_code == 401
    answer = (await api.http.post("/broadcasting/user-auth", data={"socket_id": SOCKET}, headers=client.headers)).json()
    assert json.loads(answer["user_data"])["id"] == str(client.id)
    assert answer["auth"] == signatures.user_auth(
        key=KEY, secret=SECRET, socket_id=SOCKET, user_data=answer["user_data"]
    )


async def test_nothing_is_signed_while_redis_is_away(postgres_url: str) -> None:
    """What could not be taken back is not given."""
    async with open_api(make_settings(postgres_url, "redis://127.0.0.1:1/0")) as api:
        client = await api.person("client")
        status, problem = await _ask(api, client, f"private-user.{client.id}")
        assert (status, problem["code"]) == (503, "temporarily-unavailable")


async def test_who_may_stay_checks_many_at_once(api: Api) -> None:
    client, freelancer = await api.parties()
    stranger, operator = await api.person("freelancer"), await api.person("operator")
    job_id = await api.claimed_job(client, freelancer)
    everybody = {client.id, freelancer.id, stranger.id, operator.id, 10**9}
    async with api.runtime.engine.connect() as connection:
        staying = {
            channel: await channel_rules.who_may_stay(connection, channel, everybody)
            for channel in (f"private-job.{job_id}", f"presence-job.{job_id}", f"private-user.{client.id}")
        }
    assert staying == {
        f"private-job.{job_id}": {client.id, freelancer.id},
        f"presence-job.{job_id}": {client.id, freelancer.id, operator.id},
        f"private-user.{client.id}": {client.id},
    }


async def test_browsers_of_other_origins_may_ask(api: Api) -> None:
    answer = await api.http.options(
        "/broadcasting/auth",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-csrf-token,x-requested-with,x-socket-id",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
