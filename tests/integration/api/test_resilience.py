"""What happens to requests while Redis or Postgres misbehave."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from sharedjox_api.http.problems import exception_response
from sharedjox_devstack.redis import EmbeddedRedis
from sharedjox_kit.tasks import QUEUE_NAME, WAKE_TOPIC
from sharedjox_marketplace.database import DATABASE_ERRORS, create_engine
from sharedjox_marketplace.prepared import driver_of
from sharedjox_marketplace.unit_of_work import Transactor, UnitOfWork, Work
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from tests.support.polling import eventually, scaled
from tests.support.tcp_proxy import tcp_proxy

from .harness import JOB, Api, Person, make_settings, open_api

END_OTHER_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def _post_several(api: Api, client: Person) -> set[int]:
    """At the same time, so that each takes a connection of its own; returns the statuses."""
    answers = await asyncio.gather(*(api.post(client, "/api/jobs", JOB) for _ in range(8)))
    return {answer.status_code for answer in answers}


async def _queued(api: Api) -> int:
    length: int = await api.runtime.redis.zcard(QUEUE_NAME)
    return length


async def test_what_an_error_of_the_database_says_in_a_log_has_no_values(postgres_url: str) -> None:
    engine = create_engine(postgres_url)

    async def fail() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1 / (length(:password) - 4)"), {"password": "hush"})

    with pytest.raises(DBAPIError) as failed:
        await fail()
    await engine.dispose()
    with capture_logs() as logs:
        exception_response(failed.value)
    (line,) = logs
    said = f"{line} {failed.value}"
    assert "SELECT 1 /" in said
    assert "hush" not in said


async def test_a_failing_commit_gives_5xx_and_no_event(api: Api) -> None:
    client = await api.person("client")
    await api.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk on fire' USING ERRCODE = '58030'; END $$"
    )
    await api.sql(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    refused = await api.post(client, "/api/jobs", JOB, idempotency_key="again")
    assert (refused.status_code, refused.json()["code"]) == (500, "internal-error")
    assert "disk on fire" not in refused.text
    assert await api.events() == []
    assert await _queued(api) == 0
    assert await api.sql("SELECT 1 FROM jobs") == []
    await api.sql("DROP TRIGGER refuse ON jobs")
    assert (await api.post(client, "/api/jobs", JOB, idempotency_key="again")).status_code == 201


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
async def test_lost_races_are_run_again(api: Api, state: str) -> None:
    """A commit that fails twice with a retryable error succeeds the third time, and its event is there once."""
    client = await api.person("client")
    await api.sql("CREATE SEQUENCE tries")
    await api.sql(
        "CREATE FUNCTION refuse_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') < 3 THEN"
        f" RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END IF; RETURN NULL; END $$"
    )
    await api.sql(
        "CREATE CONSTRAINT TRIGGER refuse_twice AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse_twice()"
    )
    assert (await api.post(client, "/api/jobs", JOB)).status_code == 201
    assert len(await api.events("job.posted")) == 1


async def test_a_race_that_is_always_lost_is_a_retryable_refusal(api: Api) -> None:
    client = await api.person("client")
    await api.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$"
    )
    await api.sql("CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()")
    refused = await api.post(client, "/api/jobs", JOB)
    assert (refused.status_code, refused.json()["code"]) == (503, "temporarily-unavailable")
    assert refused.headers["retry-after"] == "1"


async def test_connections_that_the_database_closed_are_replaced(api: Api) -> None:
    """As after a restart of Postgres: the pool is full of connections that lead nowhere."""
    client = await api.person("client")
    await _post_several(api, client)
    await api.sql(END_OTHER_CONNECTIONS)

    async def all_succeed() -> bool:
        return await _post_several(api, client) == {201}

    await eventually(all_succeed, what="every request finds a connection that works")


async def test_connections_that_have_read_the_databases_farewell_and_not_their_end_are_replaced(
    postgres_url: str, redis_url: str
) -> None:
    url = urlsplit(postgres_url)
    async with (
        tcp_proxy(url.port or 5432) as proxy,
        open_api(
            make_settings(url._replace(netloc=f"{url.username}@127.0.0.1:{proxy.port}").geturl(), redis_url)
        ) as api,
    ):
        client = await api.person("client")
        await _post_several(api, client)
        proxy.holds_ends = True
        before = proxy.held_ends
        ended = len(await api.sql(END_OTHER_CONNECTIONS))
        assert ended > 0
        # A request that is under way when the farewell comes would wait for the rest of its answer.
        await eventually(lambda: proxy.held_ends == before + ended, what="every farewell has been read")

        seen: set[int] = set()

        async def all_succeed() -> bool:
            statuses = await _post_several(api, client)
            seen.update(statuses)
            return statuses == {201}

        await eventually(all_succeed, what="every request finds a connection that works")
        assert seen <= {201, 503}, "never an internal error"
        await proxy.cut()


async def test_a_database_that_goes_silent_holds_nobody_up(postgres_url: str) -> None:
    """No end of the stream, no answer: as when its machine loses power, or a network begins to drop packets."""
    url = urlsplit(postgres_url)
    async with tcp_proxy(url.port or 5432) as proxy:
        there = url._replace(netloc=f"{url.username}@127.0.0.1:{proxy.port}").geturl()
        engine = create_engine(there, pool_size=1, max_overflow=0, statement_timeout_ms=200)
        run = Transactor(engine).run

        async def one(unit: UnitOfWork) -> object:
            return await unit.session.scalar(text("SELECT 1"))

        async def one_by_asyncpg(unit: UnitOfWork) -> object:
            return await driver_of(unit.connection).fetchval("SELECT 1")

        for work in (one, one_by_asyncpg):
            assert await run(work) == 1

            async def and_silence(unit: UnitOfWork, work: Work[object] = work) -> object:
                proxy.half_open = True
                return await work(unit)

            with pytest.raises((*DATABASE_ERRORS, OSError)) as failed:
                async with asyncio.timeout(scaled(10)):
                    await run(and_silence)
            assert exception_response(failed.value).status_code == 503
            proxy.half_open = False
        assert await run(one) == 1, "the only connection of the pool has been replaced"
        await engine.dispose()


async def test_requests_succeed_while_redis_is_away_and_the_bell_rings_later(
    postgres_url: str, redis_server: EmbeddedRedis
) -> None:
    async with open_api(make_settings(postgres_url, redis_server.url, login_attempts_per_minute=5)) as api:
        client, freelancer = await api.parties()
        redis_server.process.kill()
        job_id = await api.claimed_job(client, freelancer)
        assert (await api.get(client, f"/api/jobs/{job_id}")).json()["status"] == "claimed"
        wrong = await api.http.post("/api/auth/login", json={"email": "a@example.test", "password": "wrong"})
        assert wrong.status_code == 401  # the throttle lets people through when it cannot count
        assert (await api.http.get("/readyz")).status_code == 503
        assert (await api.http.get("/healthz")).status_code == 200
        operator = await api.person("operator")
        assert (await api.get(operator, "/api/analytics/realtime")).json()["nodes"] == []
        redis_server.start()
        await eventually(lambda: _queued(api), 10, what="the bell was rung")
        assert len(await api.events("job.claimed")) == 2


async def test_commits_ring_the_bell(api: Api) -> None:
    async with api.runtime.redis.pubsub() as listener:
        await listener.subscribe(WAKE_TOPIC)
        client = await api.person("client")
        await api.job(client)

        async def heard() -> bool:
            message = await listener.get_message(ignore_subscribe_messages=True, timeout=0.05)
            return message is not None

        await eventually(heard)
    # The wake-up goes out first, the task follows.
    await eventually(lambda: _queued(api))


async def test_reads_ring_no_bell(api: Api) -> None:
    client = await api.person("client")
    await eventually(lambda: _queued_at_rest(api))
    before = await _queued(api)
    await api.get(client, "/api/jobs")
    refused = await api.post(client, "/api/jobs/1/claim")
    assert refused.status_code == 403
    assert await _queued(api) == before


async def _queued_at_rest(api: Api) -> bool:
    return not api.runtime.doorbell.is_ringing


async def test_postgres_away_is_a_retryable_refusal(redis_url: str) -> None:
    settings = make_settings("postgresql://app@127.0.0.1:1/none", redis_url)
    async with open_api(settings) as api:
        answer = await api.http.post("/api/auth/login", json={"email": "a@example.test", "password": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "temporarily-unavailable")
        ready = await api.http.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["redis"]) == (503, "ok")


async def test_unexpected_errors_are_problems_without_internals(api: Api) -> None:
    await api.sql("ALTER TABLE users RENAME COLUMN skills TO gone")
    answer = await api.http.post("/api/auth/login", json={"email": "a@example.test", "password": "x"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "skills" not in answer.text
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
