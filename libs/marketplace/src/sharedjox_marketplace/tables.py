"""Every table of the marketplace in one place, for migrations."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

from . import audit, idempotency
from .accounts import model as accounts
from .alerts import model as alerts
from .jobs import model as jobs
from .notifications import model as notifications
from .orm import Base
from .wallet import model as wallet

MODULES: Final = (accounts, alerts, audit, idempotency, jobs, notifications, wallet)
"""Importing them registers their tables."""

metadata: Final[MetaData] = Base.metadata
