"""Discovery with many jobs: the pages are right whichever way they were found, and no plan reads the whole table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sharedjox_marketplace.database import create_engine
from sharedjox_marketplace.jobs.discovery import CANDIDATES, SOME, STEPS, JobFilter, list_jobs
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.prepared import driver_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.databases import Databases

JOBS = 40_000
ACTIVE = JobStatus.ACTIVE
POPULATE = """
INSERT INTO jobs (client_id, title, description, budget_min_cents, budget_max_cents, status, claimed_by, claimed_at,
                  agreed_cents, required_skills, estimated_duration, created_at, updated_at)
SELECT 1 + n % 2, 'Job ' || CASE WHEN n % 3 = 0 THEN 'logo' ELSE 'shop' END,
       'word' || n % 700 || CASE WHEN n < 2000 THEN ' oldfashioned' ELSE '' END,
       1000 + n % 900, CASE WHEN n % 5000 = 0 THEN 9000000 ELSE 2000 + n % 900 END,
       CASE WHEN n % 5 = 0 THEN 'active' ELSE 'completed' END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE 3 END, CASE WHEN n % 5 = 0 THEN NULL ELSE now() END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE 1000 + n % 900 END,
       ARRAY['common', 'skill' || n % 400], 60, now(), now()
FROM generate_series(1, :jobs) AS n
"""
FILTERS = {
    "everything": JobFilter(),
    "active": JobFilter(status=ACTIVE),
    "common skill": JobFilter(status=ACTIVE, skill="common"),
    "rare skill": JobFilter(status=ACTIVE, skill="skill5"),
    "unknown skill": JobFilter(status=ACTIVE, skill="nobody"),
    "common word": JobFilter(status=ACTIVE, text="logo"),
    "rare word": JobFilter(status=ACTIVE, text="word35"),
    "word of old jobs": JobFilter(status=ACTIVE, text="oldfashioned"),
    "two words": JobFilter(status=ACTIVE, text="logo word35"),
    "without a word": JobFilter(status=ACTIVE, text="shop -word35"),
    "unknown word": JobFilter(status=ACTIVE, text="nothing"),
    "common word and skill": JobFilter(status=ACTIVE, text="shop", skill="common"),
    "word and skill that never meet": JobFilter(status=ACTIVE, text="word35", skill="skill6"),
    "rare skill of done jobs": JobFilter(status=JobStatus.COMPLETED, skill="skill6"),
    "rare word, any status": JobFilter(text="word35"),
    "high budget": JobFilter(status=ACTIVE, min_budget_cents=8_000_000),
    "low budget": JobFilter(status=ACTIVE, max_budget_cents=1004),
    "mine": JobFilter(client_id=1),
    "mine and active": JobFilter(client_id=1, status=ACTIVE),
    "claimed by me": JobFilter(claimed_by=3),
}


@pytest.fixture(scope="module")
def many_jobs(databases: Databases) -> Iterator[str]:
    name, url = databases.create_migrated()

    async def populate() -> None:
        engine = create_engine(url, statement_timeout_ms=0)
        async with engine.begin() as connection:
            for number in (1, 2, 3):
                await connection.execute(
                    text(
                        "INSERT INTO users (email, name, role, password_hash, created_at)"
                        " VALUES (:email, 'x', 'client', 'x', now())"
                    ),
                    {"email": f"{number}@example.test"},
                )
            await connection.execute(text(POPULATE), {"jobs": JOBS})
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text("VACUUM ANALYZE jobs"))
        await engine.dispose()

    asyncio.run(populate())
    yield url
    databases.drop(name)


async def _all_ids(connection: AsyncConnection, wanted: JobFilter) -> list[int]:
    """What the filter means, without any cleverness."""
    rows = await connection.execute(
        text(
            "SELECT id FROM jobs WHERE (CAST(:status AS text) IS NULL OR status = :status)"
            " AND (CAST(:skill AS text) IS NULL OR :skill = ANY (required_skills))"
            " AND (CAST(:low AS bigint) IS NULL OR budget_max_cents >= :low)"
            " AND (CAST(:high AS bigint) IS NULL OR budget_min_cents <= :high)"
            " AND (CAST(:client AS bigint) IS NULL OR client_id = :client)"
            " AND (CAST(:claimer AS bigint) IS NULL OR claimed_by = :claimer)"
            " AND (CAST(:words AS text) IS NULL OR search @@ websearch_to_tsquery('simple', :words)) ORDER BY id DESC"
        ),
        {
            "status": wanted.status.value if wanted.status else None,
            "skill": wanted.skill,
            "low": wanted.min_budget_cents,
            "high": wanted.max_budget_cents,
            "client": wanted.client_id,
            "claimer": wanted.claimed_by,
            "words": wanted.text,
        },
    )
    return list(rows.scalars())


@pytest.mark.parametrize("name", FILTERS)
async def test_pages_are_what_the_filter_means(many_jobs: str, name: str) -> None:
    engine = create_engine(many_jobs)
    async with engine.connect() as connection:
        expected = await _all_ids(connection, FILTERS[name])
        for start in (None, expected[len(expected) // 2] if expected else 1, JOBS // 20):
            page = await list_jobs(connection, FILTERS[name], before_id=start, limit=20)
            rest = [job_id for job_id in expected if start is None or job_id < start]
            assert [job.id for job in page] == rest[:21]
    await engine.dispose()


@pytest.mark.parametrize("name", FILTERS)
async def test_no_plan_reads_the_whole_table(many_jobs: str, name: str) -> None:
    """Every statement that discovery runs is explained; none scans the table, none looks at more rows than it may."""
    engine = create_engine(many_jobs)
    async with engine.connect() as connection:
        driver = driver_of(connection)
        seen: list[tuple[str, list[object]]] = []
        with driver.query_logger(lambda record: seen.append((record.query, list(record.args)))):
            await list_jobs(connection, FILTERS[name], before_id=None, limit=20)
            await asyncio.sleep(0)  # the logger is called with the loop's next turn
        seen = [(statement, arguments) for statement, arguments in seen if "jobs" in statement]
        for statement, arguments in seen:
            rows = await driver.fetch(f"EXPLAIN ANALYZE {statement}", *arguments)
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan on jobs" not in plan, plan
    assert 1 <= len(seen) <= 4
    await engine.dispose()


def test_every_way_is_taken_above() -> None:
    """In short, the test's table has common, middling and rare filters, and a common one that is rare lately."""
    active = JOBS / 5
    assert active > 2 * STEPS
    assert SOME <= STEPS / 400 < 21
    assert active > CANDIDATES
