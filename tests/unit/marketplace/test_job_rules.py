"""The rules of a job's life."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.jobs.errors import (
    InvalidTransitionError,
    JobAlreadyClaimedError,
    JobNotActiveError,
    OfferOutsideBudgetError,
)
from sharedjox_marketplace.jobs.records import LockedJob
from sharedjox_marketplace.jobs.rules import TRANSITIONS, JobStatus, Party, agreed_amount, match_score, party_of

CLIENT, FREELANCER, STRANGER = 2, 3, 9
NOW = dt.datetime(2026, 2, 21, 10, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=5)


def make_job(status: JobStatus = JobStatus.ACTIVE, **fields: Any) -> LockedJob:
    claimed = status not in (JobStatus.ACTIVE, JobStatus.CANCELLED)
    defaults: dict[str, Any] = {
        "id": 1,
        "client_id": CLIENT,
        "claimed_by": FREELANCER if claimed else None,
        "claimed_at": NOW if claimed else None,
        "agreed_cents": 50_00 if claimed else None,
        "budget_min_cents": 50_00,
        "budget_max_cents": 150_00,
        "title": "Build a shop",
        "description": "",
        "status": status.value,
        "required_skills": [],
        "estimated_duration": 60,
        "deliverables": [],
        "version": 1,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return LockedJob(**(defaults | fields))


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.ACTIVE])
def test_claim_is_refused_unless_active_and_leaves_the_job_alone(status: JobStatus) -> None:
    job = make_job(status)
    before = (job.claimed_by, job.agreed_cents, job.status, job.updated_at)
    expected = JobNotActiveError if status is JobStatus.CANCELLED else JobAlreadyClaimedError
    with pytest.raises(expected):
        job.claim(by=STRANGER, at=LATER, offer_cents=None)
    assert (job.claimed_by, job.agreed_cents, job.status, job.updated_at) == before


@pytest.mark.parametrize("offer", [49_99, 150_01, 0, -1])
def test_claim_is_refused_when_the_offer_leaves_the_budget(offer: int) -> None:
    job = make_job()
    with pytest.raises(OfferOutsideBudgetError):
        job.claim(by=FREELANCER, at=LATER, offer_cents=offer)
    assert job.state is JobStatus.ACTIVE


@pytest.mark.parametrize(("offer", "agreed"), [(None, 50_00), (50_00, 50_00), (75_25, 75_25), (150_00, 150_00)])
def test_claim_agrees_on_an_amount(offer: int | None, agreed: int) -> None:
    job = make_job()
    assert job.claim(by=FREELANCER, at=LATER, offer_cents=offer) == agreed
    assert (job.state, job.claimed_by, job.claimed_at, job.agreed_cents) == (
        JobStatus.CLAIMED,
        FREELANCER,
        LATER,
        agreed,
    )


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_every_step_is_taken_by_the_entitled_party_only(before: JobStatus, after: JobStatus) -> None:
    for user, party in ((CLIENT, Party.CLIENT), (FREELANCER, Party.FREELANCER), (STRANGER, None)):
        job = make_job(before)
        is_party = party is Party.CLIENT or (party is Party.FREELANCER and job.claimed_by is not None)
        entitled = TRANSITIONS.get((before, after))
        if is_party and entitled is party:
            job.move(to=after, by=user, at=LATER, deliverables=None)
            assert (job.state, job.updated_at) == (after, LATER)
            continue
        expected = InvalidTransitionError if is_party and entitled is None else NotAllowedError
        with pytest.raises(expected):
            job.move(to=after, by=user, at=LATER, deliverables=None)
        assert job.state is before


def test_releasing_forgets_the_claim() -> None:
    job = make_job(JobStatus.CLAIMED)
    job.move(to=JobStatus.ACTIVE, by=FREELANCER, at=LATER, deliverables=None)
    assert (job.claimed_by, job.claimed_at, job.agreed_cents, job.deliverables) == (None, None, None, [])


def test_deliverables_are_taken_with_submitted_only() -> None:
    job = make_job(JobStatus.IN_PROGRESS)
    job.move(to=JobStatus.SUBMITTED, by=FREELANCER, at=LATER, deliverables=["code"])
    job.move(to=JobStatus.COMPLETED, by=CLIENT, at=LATER, deliverables=["something else"])
    assert job.deliverables == ["code"]


@pytest.mark.parametrize(
    ("skills", "required", "score"),
    [
        ([], ["react"], 50),
        (["react"], ["react"], 100),
        (["react"], ["react", "typescript"], 75),
        (["react", "vue"], ["react", "typescript", "css"], 67),
        (["a", "b"], ["a", "b", "c"], 83),
        (["react"], [], 100),
        (["react", "react"], ["react", "css"], 75),
    ],
)
def test_match_score(skills: list[str], required: list[str], score: int) -> None:
    assert match_score(skills, required) == score


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9), min_size=1))
def test_match_score_is_the_rounded_formula(skills: set[int], required: set[int]) -> None:
    have, want = {str(skill) for skill in skills}, {str(skill) for skill in required}
    exact = 50 + 50 * len(have & want) / len(want)
    assert abs(match_score(have, want) - exact) <= 0.5
    assert 50 <= match_score(have, want) <= 100


@given(st.integers(1, 10**8), st.integers(0, 10**8), st.integers(-(10**9), 10**9) | st.none())
def test_agreed_amount_never_leaves_the_budget(low: int, width: int, offer: int | None) -> None:
    agreed = agreed_amount(budget_min_cents=low, budget_max_cents=low + width, offer_cents=offer)
    if agreed is None:
        assert offer is not None
        assert not low <= offer <= low + width
    else:
        assert low <= agreed <= low + width


def test_party_of() -> None:
    assert party_of(CLIENT, client_id=CLIENT, claimed_by=None) is Party.CLIENT
    assert party_of(FREELANCER, client_id=CLIENT, claimed_by=FREELANCER) is Party.FREELANCER
    assert party_of(STRANGER, client_id=CLIENT, claimed_by=None) is None
