"""The audit log: who did what to money and access. Append-only; the database refuses changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, String, insert
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .orm import Base, Instant, Serial
from .unit_of_work import UnitOfWork


class AuditRecord(Base):
    """One line. `actor_id` None: the platform itself. No foreign key: the log outlives what it speaks of."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_actor_id_id", "actor_id", "id"), Index("ix_audit_log_at", "at"))

    id: Mapped[Serial]
    at: Mapped[Instant]
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(120))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    request_id: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))


async def audit(unit: UnitOfWork, action: str, *, actor_id: int | None, subject: str, **facts: Any) -> None:
    """Add a line in the running transaction. `facts` hold no secrets and no personal data beyond ids."""
    await unit.session.execute(
        insert(AuditRecord).values(
            at=unit.now,
            actor_id=actor_id,
            action=action,
            subject=subject,
            facts=facts,
            request_id=unit.context.request_id,
            address=unit.context.address,
        )
    )
