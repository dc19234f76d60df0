"""`/api/wallet`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response
from sharedjox_marketplace.accounts.errors import InvalidTokenError
from sharedjox_marketplace.accounts.rules import Role
from sharedjox_marketplace.errors import NotAllowedError
from sharedjox_marketplace.idempotency import IdempotencyKeyReusedError
from sharedjox_marketplace.orm import BIGINT_MAX
from sharedjox_marketplace.wallet.actions import (
    ConfirmTransactionAction,
    DepositAction,
    RejectTransactionAction,
    WithdrawAction,
)
from sharedjox_marketplace.wallet.errors import (
    InsufficientFundsError,
    TransactionNotFoundError,
    TransactionNotPendingError,
)
from sharedjox_marketplace.wallet.repository import BALANCES, TransactionFilter, list_transactions, the_wallet
from sharedjox_marketplace.wallet.rules import TransactionStatus, TransactionType
from sharedjox_marketplace.wallet.statement import wallet_statement

from sharedjox_api.http.answers import decode_cursor, json_response, page_response, stored
from sharedjox_api.http.commands import CommandDep, QueryDep
from sharedjox_api.http.errors import InvalidCursorProblem, MalformedHeaderProblem, ValidationProblem
from sharedjox_api.http.openapi import MUTATES, READS_BODY, documented
from sharedjox_api.http.parameters import PAGE, Cursor, Limit, RowId
from sharedjox_api.http.routes import AuthenticatedRoute

from .schemas import (
    STATEMENT_LINE_EXAMPLE,
    TRANSACTION_EXAMPLE,
    WALLET_EXAMPLE,
    AmountBody,
    StatementLineAnswer,
    TransactionAnswer,
    TransactionStatusName,
    TransactionTypeName,
    WalletAnswer,
    statement_line_answer,
    transaction_answer,
    wallet_answer,
)

router = APIRouter(prefix="/api/wallet", tags=["wallet"], route_class=AuthenticatedRoute)

_REQUEST_REFUSALS: Final = (
    *READS_BODY,
    MalformedHeaderProblem,
    InvalidTokenError,
    NotAllowedError,
    IdempotencyKeyReusedError,
)
_REQUESTED_EXAMPLE: Final = TRANSACTION_EXAMPLE | {"status": "pending", "jobId": None, "confirmedAt": None}
_DECIDED: Final = documented(
    TransactionAnswer,
    MalformedHeaderProblem,
    InvalidTokenError,
    NotAllowedError,
    TransactionNotFoundError,
    TransactionNotPendingError,
    ValidationProblem,
    IdempotencyKeyReusedError,
    example=TRANSACTION_EXAMPLE,
)


@router.get("", responses=documented(WalletAnswer, InvalidTokenError, example=WALLET_EXAMPLE))
async def show_wallet(query: QueryDep) -> Response:
    """The user's money."""
    actor, rows = await query.read(BALANCES, user_id=query.user_id)
    return json_response(wallet_answer(the_wallet(rows, actor.id)))


@router.get(
    "/transactions",
    responses=documented(
        TransactionAnswer,
        InvalidTokenError,
        NotAllowedError,
        ValidationProblem,
        InvalidCursorProblem,
        page=True,
        example=TRANSACTION_EXAMPLE,
    ),
)
async def transactions(
    query: QueryDep,
    status: TransactionStatusName | None = None,
    kind: Annotated[TransactionTypeName | None, Query(alias="type")] = None,
    job_id: Annotated[int | None, Query(alias="jobId", ge=1, le=BIGINT_MAX)] = None,
    scope: Annotated[
        Literal["own", "all"], Query(description="`all`: everybody's transactions, for operators.")
    ] = "own",
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """The user's transactions, newest first."""
    before_id = decode_cursor(cursor)
    async with query.open() as (connection, actor):
        if scope == "all" and actor.role is not Role.OPERATOR:
            raise NotAllowedError("only operators see everybody's transactions")
        wanted = TransactionFilter(
            user_id=None if scope == "all" else actor.id,
            status=TransactionStatus(status) if status else None,
            type=TransactionType(kind) if kind else None,
            job_id=job_id,
        )
        found = await list_transactions(connection, wanted, before_id=before_id, limit=limit)
    return page_response(found, limit, transaction_answer)


@router.get(
    "/statement",
    responses=documented(
        StatementLineAnswer,
        InvalidTokenError,
        ValidationProblem,
        InvalidCursorProblem,
        page=True,
        example=STATEMENT_LINE_EXAMPLE,
    ),
)
async def statement(query: QueryDep, limit: Limit = PAGE, cursor: Cursor = None) -> Response:
    """Every movement of the user's money with the balances it left, newest first.

    A pending transaction that moves nothing yet is not on it; a withdrawal is on it twice, when its amount is held and
    when it leaves (or comes back, as a `release`).
    """
    before_id = decode_cursor(cursor)
    async with query.open() as (connection, actor):
        found = await wallet_statement(connection, actor.id, before_id=before_id, limit=limit)
    return page_response(found, limit, statement_line_answer)


@router.post(
    "/deposits",
    status_code=201,
    openapi_extra=MUTATES,
    responses=documented(
        TransactionAnswer, *_REQUEST_REFUSALS, status=201, example=_REQUESTED_EXAMPLE | {"type": "deposit"}
    ),
)
async def deposit(command: CommandDep, body: AmountBody) -> Response:
    """Announce a deposit; it counts once an operator confirms it."""
    return await command.run(
        lambda actor: DepositAction(actor, body.amount), lambda added: stored(transaction_answer(added), 201)
    )


@router.post(
    "/withdrawals",
    status_code=201,
    openapi_extra=MUTATES,
    responses=documented(
        TransactionAnswer,
        *_REQUEST_REFUSALS,
        InsufficientFundsError,
        status=201,
        example=_REQUESTED_EXAMPLE | {"type": "withdrawal"},
    ),
)
async def withdraw(command: CommandDep, body: AmountBody) -> Response:
    """Ask for a withdrawal; its amount is held until an operator confirms or rejects it."""
    return await command.run(
        lambda actor: WithdrawAction(actor, body.amount), lambda added: stored(transaction_answer(added), 201)
    )


@router.post("/transactions/{id}/confirm", openapi_extra=MUTATES, responses=_DECIDED)
async def confirm(command: CommandDep, transaction_id: RowId) -> Response:
    """Let a pending transaction happen (operators; for an earning also the client who pays it).

    An earning and its payment are two sides of one settlement: confirming either confirms both.
    """
    return await command.run(
        lambda actor: ConfirmTransactionAction(actor, transaction_id),
        lambda decided: stored(transaction_answer(decided)),
    )


@router.post("/transactions/{id}/reject", openapi_extra=MUTATES, responses=_DECIDED)
async def reject(command: CommandDep, transaction_id: RowId) -> Response:
    """Call a pending transaction off; what it held is free again."""
    return await command.run(
        lambda actor: RejectTransactionAction(actor, transaction_id),
        lambda decided: stored(transaction_answer(decided)),
    )
