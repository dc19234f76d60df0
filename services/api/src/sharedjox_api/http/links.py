"""OpenAPI links: which call an answer leads to, and what of the answer it takes. For readers and for walking tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Link:
    """From a call's answer to the next call.

    `parameters` by name and `body` hold constants, or runtime expressions of OpenAPI (`$response.body#/id`).
    """

    name: str
    source: str
    status: int
    target: str
    parameters: dict[str, str] = field(default_factory=dict)
    body: Any = None


_ID: Final = {"id": "$response.body#/id"}
_SAME: Final = {"id": "$request.path.id"}
_FIRST: Final = {"id": "$response.body#/items/0/id"}
_NEXT_PAGE: Final = {"cursor": "$response.body#/nextCursor"}
_JOB, _CLAIM, _STATUS = "GET /api/jobs/{id}", "POST /api/jobs/{id}/claim", "POST /api/jobs/{id}/status"
_CONFIRM, _REJECT = "POST /api/wallet/transactions/{id}/confirm", "POST /api/wallet/transactions/{id}/reject"
_ME: Final = "GET /api/auth/me"
_TRANSACTIONS: Final = "GET /api/wallet/transactions"
_REFRESH: Final = {"refreshToken": "$response.body#/refreshToken"}


def _step(name: str, source: str, status: str, **more: Any) -> Link:
    return Link(name, source, 200, _STATUS, _SAME, {"status": status} | more)


LINKS: Final = (
    Link("refresh", "POST /api/auth/register", 201, "POST /api/auth/refresh", body=_REFRESH),
    Link("refresh", "POST /api/auth/login", 200, "POST /api/auth/refresh", body=_REFRESH),
    Link("refreshAgain", "POST /api/auth/refresh", 200, "POST /api/auth/refresh", body=_REFRESH),
    Link(
        "revoke",
        "GET /api/auth/sessions",
        200,
        "DELETE /api/auth/sessions/{session_id}",
        {"session_id": "$response.body#/items/0/id"},
    ),
    Link("me", "POST /api/auth/login", 200, _ME),
    Link("change", _ME, 200, "PATCH /api/auth/me"),
    Link("logOut", _ME, 200, "POST /api/auth/logout"),
    Link("signIn", _ME, 200, "POST /broadcasting/user-auth"),
    Link("post", "GET /api/jobs/mine", 200, "POST /api/jobs"),
    Link("show", "POST /api/jobs", 201, _JOB, _ID),
    Link(
        "join",
        _JOB,
        200,
        "POST /broadcasting/auth",
        body={"socket_id": "123.456", "channel_name": "private-job.{$response.body#/id}"},
    ),
    Link("claim", "POST /api/jobs", 201, _CLAIM, _ID),
    Link("cancel", "POST /api/jobs", 201, _STATUS, _ID, {"status": "cancelled"}),
    *(
        link
        for source in ("GET /api/jobs", "GET /api/jobs/mine")
        for link in (
            Link("first", source, 200, _JOB, _FIRST),
            Link("claimFirst", source, 200, _CLAIM, _FIRST),
            Link("nextPage", source, 200, source, _NEXT_PAGE),
        )
    ),
    _step("start", _CLAIM, "in_progress"),
    _step("release", _CLAIM, "active"),
    _step("cancel", _CLAIM, "cancelled"),
    _step("submit", _STATUS, "submitted", deliverables=["source code"]),
    _step("complete", _STATUS, "completed"),
    _step("askForChanges", _STATUS, "in_progress"),
    Link("transactions", _STATUS, 200, _TRANSACTIONS, {"jobId": "$request.path.id"}),
    Link("deposit", "GET /api/wallet", 200, "POST /api/wallet/deposits"),
    Link("withdraw", "GET /api/wallet", 200, "POST /api/wallet/withdrawals"),
    *(
        Link(name, source, 201, target, _ID)
        for source in ("POST /api/wallet/deposits", "POST /api/wallet/withdrawals")
        for name, target in (("confirm", _CONFIRM), ("reject", _REJECT))
    ),
    Link("confirmFirst", _TRANSACTIONS, 200, _CONFIRM, _FIRST),
    Link("rejectFirst", _TRANSACTIONS, 200, _REJECT, _FIRST),
    Link("nextPage", _TRANSACTIONS, 200, _TRANSACTIONS, _NEXT_PAGE),
    Link("nextPage", "GET /api/wallet/statement", 200, "GET /api/wallet/statement", _NEXT_PAGE),
    Link("read", "GET /api/notifications", 200, "POST /api/notifications/{id}/read", _FIRST),
    Link("nextPage", "GET /api/notifications", 200, "GET /api/notifications", _NEXT_PAGE),
    Link("subscribe", "GET /api/push/public-key", 200, "POST /api/push/subscriptions"),
    Link("forget", "POST /api/push/subscriptions", 201, "DELETE /api/push/subscriptions/{id}", _ID),
)


def add_links(document: dict[str, Any]) -> None:
    """Write the links into the document. Raises: KeyError for a call or an answer that it does not have."""
    for link in LINKS:
        written: dict[str, Any] = {"operationId": _operation(document, link.target)["operationId"]}
        if link.parameters:
            written["parameters"] = link.parameters
        if link.body is not None:
            written["requestBody"] = link.body
        answer = _operation(document, link.source)["responses"][str(link.status)]
        answer.setdefault("links", {})[link.name] = written


def _operation(document: dict[str, Any], call: str) -> dict[str, Any]:
    method, path = call.split(" ")
    operation: dict[str, Any] = document["paths"][path][method.lower()]
    return operation
