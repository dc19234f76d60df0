"""The declarative base and the column types that every model shares."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

from sqlalchemy import BigInteger, DateTime, Identity, MetaData
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

BIGINT_MAX: Final = 2**63 - 1

Serial = Annotated[int, mapped_column(BigInteger, Identity(always=False), primary_key=True)]
Instant = Annotated[dt.datetime, mapped_column(DateTime(timezone=True))]
Cents = Annotated[int, mapped_column(BigInteger)]


class Base(DeclarativeBase):
    """Base of all marketplace tables. Their DDL is applied by the api's migrations."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
