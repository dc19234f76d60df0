"""`/api/jobs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.context import Actor
from sharedjox_marketplace.errors import NotAllowedError, StaleVersionError
from sharedjox_marketplace.idempotency import IdempotencyKeyReusedError, StoredAnswer
from sharedjox_marketplace.jobs.actions import ClaimJobAction, PostJobAction, UpdateJobStatusAction
from sharedjox_marketplace.jobs.discovery import JobFilter, list_jobs, newest_jobs
from sharedjox_marketplace.jobs.errors import (
    BudgetRangeError,
    InvalidTransitionError,
    JobAlreadyClaimedError,
    JobNotActiveError,
    JobNotFoundError,
    OfferOutsideBudgetError,
)
from sharedjox_marketplace.jobs.records import JobRecord, LockedJob
from sharedjox_marketplace.jobs.repository import JOB_BY_ID, the_job
from sharedjox_marketplace.jobs.rules import JobStatus
from sharedjox_marketplace.wallet.errors import InsufficientFundsError

from sharedjox_api.http.answers import decode_cursor, json_response, page_response, stored
from sharedjox_api.http.commands import Action, Command, CommandDep, QueryDep
from sharedjox_api.http.errors import InvalidCursorProblem, MalformedHeaderProblem, ValidationProblem
from sharedjox_api.http.openapi import MUTATES, MUTATES_VERSION, READS_BODY, documented
from sharedjox_api.http.parameters import PAGE, AmountText, Cursor, JobId, Limit, SearchText, expected_version
from sharedjox_api.http.routes import AuthenticatedRoute

from .schemas import (
    JOB_EXAMPLE,
    ClaimJobBody,
    JobAnswer,
    PostJobBody,
    Status,
    UpdateStatusBody,
    etag_of,
    job_answer,
)

router = APIRouter(prefix="/api/jobs", tags=["jobs"], route_class=AuthenticatedRoute)

_Build = Callable[[Actor], Action[JobRecord] | Action[LockedJob]]


async def _run(command: Command, build: _Build, status: int = 200) -> Response:
    """Run an action that answers with its job, shaped for whoever runs it."""
    asked_by: list[Actor] = []

    def remember(actor: Actor) -> Action[JobRecord] | Action[LockedJob]:
        asked_by[:] = [actor]
        return build(actor)

    def present(job: JobRecord) -> StoredAnswer:
        return stored(job_answer(job, asked_by[0]), status, etag=etag_of(job))

    return await command.run(remember, present)


@router.post(
    "",
    status_code=201,
    openapi_extra=MUTATES,
    responses=documented(
        JobAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        NotAllowedError,
        BudgetRangeError,
        IdempotencyKeyReusedError,
        status=201,
        example=JOB_EXAMPLE,
    ),
)
async def post_job(command: CommandDep, body: PostJobBody) -> Response:
    """Post a job. Everybody on `jobs.discovery` gets `job.posted`."""
    return await _run(
        command,
        lambda actor: PostJobAction(
            actor=actor,
            title=body.title,
            description=body.description,
            budget_min_cents=body.budget_min,
            budget_max_cents=body.budget_max,
            required_skills=body.required_skills,
            estimated_duration=body.estimated_duration,
        ),
        status=201,
    )


@router.get(
    "",
    responses=documented(
        JobAnswer, InvalidTokenError, ValidationProblem, InvalidCursorProblem, page=True, example=JOB_EXAMPLE
    ),
)
async def discover(
    query: QueryDep,
    status: Status | None = None,
    skill: Annotated[SearchText | None, Query(min_length=1, max_length=50)] = None,
    min_budget: Annotated[AmountText | None, Query(alias="minBudget")] = None,
    max_budget: Annotated[AmountText | None, Query(alias="maxBudget")] = None,
    q: Annotated[SearchText | None, Query(min_length=1, max_length=200, description="Words to search for.")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Jobs, newest first. A budget matches when it overlaps the range asked for."""
    wanted = JobFilter(
        status=JobStatus(status) if status else None,
        skill=skill.strip().lower() if skill else None,
        min_budget_cents=min_budget,
        max_budget_cents=max_budget,
        text=q,
    )
    before_id = decode_cursor(cursor)
    reading = newest_jobs(wanted, before_id=before_id, limit=limit)
    if reading is not None:
        actor, rows = await query.read(reading[0], **reading[1])
        jobs = [JobRecord(*row) for row in rows]
    else:
        async with query.open() as (connection, actor):
            jobs = await list_jobs(connection, wanted, before_id=before_id, limit=limit)
    return page_response(jobs, limit, lambda job: job_answer(job, actor))


@router.get(
    "/mine",
    responses=documented(
        JobAnswer, InvalidTokenError, ValidationProblem, InvalidCursorProblem, page=True, example=JOB_EXAMPLE
    ),
)
async def my_jobs(
    query: QueryDep, status: Status | None = None, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """The jobs that a client has posted or a freelancer has claimed, newest first."""
    before_id = decode_cursor(cursor)
    async with query.open() as (connection, actor):
        is_freelancer = actor.role is Role.FREELANCER
        wanted = JobFilter(
            status=JobStatus(status) if status else None,
            client_id=None if is_freelancer else actor.id,
            claimed_by=actor.id if is_freelancer else None,
        )
        jobs = await list_jobs(connection, wanted, before_id=before_id, limit=limit)
    return page_response(jobs, limit, lambda job: job_answer(job, actor))


@router.get(
    "/{id}",
    responses=documented(JobAnswer, InvalidTokenError, JobNotFoundError, ValidationProblem, example=JOB_EXAMPLE),
)
async def show_job(query: QueryDep, job_id: JobId) -> Response:
    """One job; its `ETag` is its version."""
    actor, rows = await query.read(JOB_BY_ID, job_id=job_id)
    job = the_job(rows, job_id)
    return json_response(job_answer(job, actor), headers={"ETag": etag_of(job)})


@router.post(
    "/{id}/claim",
    openapi_extra=MUTATES_VERSION,
    responses=documented(
        JobAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        NotAllowedError,
        JobNotFoundError,
        JobAlreadyClaimedError,
        JobNotActiveError,
        InsufficientFundsError,
        OfferOutsideBudgetError,
        StaleVersionError,
        IdempotencyKeyReusedError,
        example=JOB_EXAMPLE | {"status": "claimed", "claimedBy": 3, "agreedAmount": 50},
    ),
)
async def claim_job(request: Request, command: CommandDep, job_id: JobId, body: ClaimJobBody | None = None) -> Response:
    """Claim a job. Of many who claim at once exactly one wins; the agreed amount is held on the client's wallet."""
    version = expected_version(request)
    return await _run(command, lambda actor: ClaimJobAction(actor, job_id, body.offer if body else None, version))


@router.post(
    "/{id}/status",
    openapi_extra=MUTATES_VERSION,
    responses=documented(
        JobAnswer,
        *READS_BODY,
        MalformedHeaderProblem,
        InvalidTokenError,
        NotAllowedError,
        JobNotFoundError,
        InvalidTransitionError,
        StaleVersionError,
        IdempotencyKeyReusedError,
        example=JOB_EXAMPLE
        | {"status": "submitted", "claimedBy": 3, "agreedAmount": 50, "deliverables": ["source code"]},
    ),
)
async def update_status(request: Request, command: CommandDep, job_id: JobId, body: UpdateStatusBody) -> Response:
    """Take a job to its next status.

    `claimed` to `in_progress` to `submitted` (freelancer) to `completed` (client). The client may ask for changes
    (`submitted` to `in_progress`) or cancel before work is submitted; the freelancer may release a claimed job
    (`active`). Completing makes the freelancer's pending earning and, in the client's list, the pending payment.
    """
    version = expected_version(request)
    terms = command.runtime.settings.terms
    return await _run(
        command,
        lambda actor: UpdateJobStatusAction(
            actor, job_id, JobStatus(body.status), body.deliverables, expected_version=version, terms=terms
        ),
    )
