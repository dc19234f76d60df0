"""Lists of jobs, newest first, that stay fast with millions of jobs.

A page is the newest rows that fit. With filters there are two ways to find them, and Postgres cannot know which is the
short one: walk from the newest backwards until the page is full (good for filters that many jobs pass), or collect all
that pass and sort (good for filters that few pass). Left to its estimates it sometimes walks a million rows for a word
that occurs twice. So we walk a little way first, and see:

1. the page is full: done, as for every filter that one job in some 140 passes;
2. some fit: the filter is neither common nor rare, and walking further is shorter than collecting from everywhere;
3. hardly any fit: the filter is rare, at least lately. Everything that passes is collected through the indexes of
   skills, words and budgets, unless it is more than CANDIDATES: then it is common after all, and walking on ends soon.

Measured with 1,000,000 jobs: `make bench-api` (discovery).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Text, and_, any_, bindparam, func, select, text, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from sharedjox_marketplace.accounts.repository import ActorReading
from sharedjox_marketplace.orm import columns_of
from sharedjox_marketplace.prepared import Prepared

from .model import Job
from .records import JobRecord
from .rules import JobStatus

STEPS: Final = 3000
"""Rows of the first walk: a few milliseconds at most."""
SOME: Final = 4
"""How many must fit in the first walk for the second to be worth it: one job in 750."""
FURTHER_STEPS: Final = 40_000
CANDIDATES: Final = 5000
"""Rows that are collected and sorted at most."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list of jobs is narrowed to; amounts in cents. A budget matches when it overlaps the range asked for."""

    status: JobStatus | None = None
    skill: str | None = None
    min_budget_cents: int | None = None
    max_budget_cents: int | None = None
    text: str | None = None
    client_id: int | None = None
    claimed_by: int | None = None

    def values(self) -> dict[str, object]:
        """What is asked for, by name."""
        named = {
            "status": self.status.value if self.status else None,
            "skills": [self.skill] if self.skill is not None else None,
            "min_budget": self.min_budget_cents,
            "max_budget": self.max_budget_cents,
            "words": self.text,
            "client_id": self.client_id,
            "claimed_by": self.claimed_by,
        }
        return {name: value for name, value in named.items() if value is not None}


_SCOPE: Final[dict[str, ColumnElement[bool]]] = {
    "status": Job.status == bindparam("status"),
    "client_id": Job.client_id == bindparam("client_id"),
    "claimed_by": Job.claimed_by == bindparam("claimed_by"),
    "before_id": Job.id < bindparam("before_id"),
}
"""Conditions whose indexes have the order of ids, too."""
_CHECKED_LAST: Final[dict[str, ColumnElement[bool]]] = _SCOPE | {
    "status": Job.status.concat("") == bindparam("status"),
    "before_id": Job.id + 0 < bindparam("before_id"),
    "active": Job.status == text("'active'"),
}
"""The same, written so that no other index serves them: marking half a million rows as active, only to meet them with
the few that an inverted index finds, takes longer than looking at those few. Active jobs have an inverted index of
their own, which Postgres takes for a condition that is written like the index's."""
_SEARCH: Final[dict[str, ColumnElement[bool]]] = {
    "skills": Job.required_skills.contains(bindparam("skills")),
    "min_budget": Job.budget_max_cents >= bindparam("min_budget"),
    "max_budget": Job.budget_min_cents <= bindparam("max_budget"),
    "words": Job.search.op("@@", is_comparison=True)(
        func.websearch_to_tsquery(text("'simple'"), bindparam("words", type_=Text))
    ),
}
"""Conditions of which nobody knows how many jobs pass them."""
_RECORD: Final = select(*columns_of(JobRecord, Job))
_BY_IDS: Final = Prepared(
    _RECORD.where(Job.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))).order_by(Job.id.desc())
)


async def list_jobs(
    connection: AsyncConnection, wanted: JobFilter, *, before_id: int | None, limit: int
) -> list[JobRecord]:
    """Jobs, newest first, with ids below `before_id`; one more than `limit` tells of a next page."""
    values = wanted.values() | ({"before_id": before_id} if before_id is not None else {})
    scope = frozenset(values.keys() & _SCOPE.keys())
    search = frozenset(values.keys() & _SEARCH.keys())
    if not search:
        rows = await _newest(scope).all(connection, **values, wanted=limit + 1)
        return [JobRecord(*row) for row in rows]
    values["wanted"] = limit + 1
    ids = await _walk(scope, search).value(connection, **values, steps=STEPS) or []
    if SOME <= len(ids) <= limit:
        ids = await _walk(scope, search).value(connection, **values, steps=FURTHER_STEPS) or []
    if len(ids) <= limit:
        passing, ids = await _collect(_narrowest(wanted, scope), search).first(connection, **values) or (0, None)
        if passing > CANDIDATES:
            return [JobRecord(*row) for row in await _newest(scope | search).all(connection, **values)]
    return [JobRecord(*row) for row in await _BY_IDS.all(connection, ids=ids)] if ids else []


def newest_jobs(
    wanted: JobFilter, *, before_id: int | None, limit: int
) -> tuple[ActorReading, dict[str, object]] | None:
    """A list that takes no search, for one statement with whoever asks, and its values; None when it takes one."""
    values = wanted.values() | ({"before_id": before_id} if before_id is not None else {})
    if values.keys() & _SEARCH.keys():
        return None
    return _newest_as_actor(frozenset(values)), values | {"wanted": limit + 1}


@cache
def _newest_as_actor(names: frozenset[str]) -> ActorReading:
    conditions = [_SCOPE[name] for name in sorted(names)]
    return ActorReading(_RECORD.where(*conditions).order_by(Job.id.desc()).limit(bindparam("wanted")))


@cache
def _newest(names: frozenset[str]) -> Prepared:
    conditions = [(_SCOPE | _SEARCH)[name] for name in sorted(names)]
    return Prepared(_RECORD.where(*conditions).order_by(Job.id.desc()).limit(bindparam("wanted")))


@cache
def _walk(scope: frozenset[str], search: frozenset[str]) -> Prepared:
    """The ids of those that fit among the newest `steps` rows of the scope, newest first; stops at a full page.

    The inner LIMIT is the bound, and the fence that keeps the planner on the index in order.
    """
    window = (
        select(Job.id, and_(true(), *(_SEARCH[name] for name in sorted(search))).label("fits"))
        .where(*(_SCOPE[name] for name in sorted(scope)))
        .order_by(Job.id.desc())
        .limit(bindparam("steps"))
        .subquery("window")
    )
    fitting = select(window.c.id).where(window.c.fits).limit(bindparam("wanted")).subquery("fitting")
    return Prepared(select(func.array_agg(fitting.c.id)))


def _narrowest(wanted: JobFilter, scope: frozenset[str]) -> frozenset[str]:
    """The scope, with the condition of the index that holds the least."""
    return scope - {"status"} | {"active"} if wanted.status is JobStatus.ACTIVE else scope


@cache
def _collect(scope: frozenset[str], search: frozenset[str]) -> Prepared:
    """Find what fits, in any order: how many there are (CANDIDATES + 1: more), and the ids of the newest.

    The fence keeps the planner from walking again for the page's sake.
    """
    inverted = bool(search & {"skills", "words"})
    if not inverted:
        scope = frozenset("status" if name == "active" else name for name in scope)
    conditions = [(_CHECKED_LAST if inverted else _SCOPE)[name] for name in sorted(scope)]
    conditions += [_SEARCH[name] for name in sorted(search)]
    passing = select(Job.id).where(*conditions).limit(CANDIDATES + 1).cte("passing").prefix_with("MATERIALIZED")
    newest = select(passing.c.id).order_by(passing.c.id.desc()).limit(bindparam("wanted")).subquery("newest")
    return Prepared(
        select(
            select(func.count()).select_from(passing).scalar_subquery(),
            select(func.array_agg(newest.c.id)).scalar_subquery(),
        )
    )
