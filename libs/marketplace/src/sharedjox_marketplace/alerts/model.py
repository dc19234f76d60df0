"""Which new jobs still have to be told, and how far each has come."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from sharedjox_marketplace.orm import Base


class JobAlert(Base):
    """A job whose freelancers are being told, in ascending order of their ids; the row goes when all have been.

    It is written with the job. `after_user_id`: everybody up to this id was told. `batches`: how often its turn came.
    """

    __tablename__ = "job_alerts"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    after_user_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    batches: Mapped[int] = mapped_column(Integer, server_default=text("0"))
