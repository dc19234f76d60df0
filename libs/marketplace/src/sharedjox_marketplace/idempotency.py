"""Idempotency keys: the first answer to a request, stored in the transaction that earned it.

A key is claimed by inserting its row at the start of the transaction. A second request with the same key waits there
until the first has committed, then finds the answer; when the first rolls back, the second runs.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Index, LargeBinary, SmallInteger, String, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .errors import DomainError, ErrorKind
from .orm import Base, Instant

KEY_LIFETIME: Final = dt.timedelta(hours=24)


class IdempotencyKeyReusedError(DomainError):
    """The key came with another request before."""

    kind = ErrorKind.INVALID
    code = "idempotency-key-reused"
    title = "Idempotency key used for another request"


class IdempotencyRecord(Base):
    """A key of one scope (a user, or everybody who has not logged in) and the answer it got."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    scope: Mapped[str] = mapped_column(String(40), primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[Instant]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    content_type: Mapped[str | None] = mapped_column(String(80))
    headers: Mapped[str | None] = mapped_column(String(400))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An HTTP answer as it went out the first time."""

    status: int
    content_type: str
    body: bytes
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key, the request it came with, and whose it is."""

    scope: str
    key: str
    fingerprint: bytes

    @property
    def key_hash(self) -> bytes:
        """What is stored instead of the key."""
        return hashlib.sha256(self.key.encode()).digest()


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).digest()


async def claim(session: AsyncSession, key: IdempotencyKey, now: dt.datetime) -> StoredAnswer | None:
    """Claim the key for this transaction, or return the answer that it got before. Waits for a running twin.

    Raises: IdempotencyKeyReusedError when it came with another request.
    """
    fresh = {"fingerprint": key.fingerprint, "created_at": now}
    inserted = await session.execute(
        insert(IdempotencyRecord)
        .values(scope=key.scope, key_hash=key.key_hash, **fresh)
        .on_conflict_do_update(
            index_elements=["scope", "key_hash"],
            set_={**fresh, "status": None, "content_type": None, "headers": None, "body": None},
            # An answer older than a day counts no more; one without a status is a claim that never ended.
            where=or_(IdempotencyRecord.created_at <= now - KEY_LIFETIME, IdempotencyRecord.status.is_(None)),
        )
        .returning(IdempotencyRecord.created_at)
    )
    if inserted.first() is not None:
        return None
    record = (
        await session.execute(
            select(IdempotencyRecord).where(
                IdempotencyRecord.scope == key.scope, IdempotencyRecord.key_hash == key.key_hash
            )
        )
    ).scalar_one()
    if record.fingerprint != key.fingerprint:
        raise IdempotencyKeyReusedError("this Idempotency-Key came with another request; take a new one")
    return StoredAnswer(record.status or 200, record.content_type or "", record.body or b"", record.headers)


async def store(session: AsyncSession, key: IdempotencyKey, answer: StoredAnswer) -> None:
    """Keep the answer; it commits with the state it tells of."""
    await session.execute(
        update(IdempotencyRecord)
        .where(IdempotencyRecord.scope == key.scope, IdempotencyRecord.key_hash == key.key_hash)
        .values(status=answer.status, content_type=answer.content_type, headers=answer.etag, body=answer.body)
    )
