"""Refusals around jobs."""

from __future__ import annotations

from sharedjox_marketplace.errors import DomainError, ErrorKind


class JobNotFoundError(DomainError):
    """No such job."""

    kind = ErrorKind.NOT_FOUND
    code = "job-not-found"
    title = "No such job"


class JobAlreadyClaimedError(DomainError):
    """Another freelancer was first."""

    kind = ErrorKind.CONFLICT
    code = "job-already-claimed"
    title = "Job already claimed"


class JobNotActiveError(DomainError):
    """The job takes no claims any more."""

    kind = ErrorKind.CONFLICT
    code = "job-not-active"
    title = "Job not active"


class InvalidTransitionError(DomainError):
    """A job does not go from its status to the one asked for."""

    kind = ErrorKind.CONFLICT
    code = "invalid-transition"
    title = "Status cannot follow"


class OfferOutsideBudgetError(DomainError):
    """The claim offers an amount outside the job's budget."""

    kind = ErrorKind.INVALID
    code = "offer-outside-budget"
    title = "Offer outside the budget"


class BudgetRangeError(DomainError):
    """The lower bound of a budget is above the upper one."""

    kind = ErrorKind.INVALID
    code = "budget-range"
    title = "Budget upside down"
