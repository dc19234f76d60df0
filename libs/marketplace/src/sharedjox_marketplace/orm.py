"""The declarative base and the column types that every model shares."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, DateTime, Identity, MetaData
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


class Record(msgspec.Struct, frozen=True):
    """Base of what reading returns: one row's columns, by name, without a session behind them."""


def columns_of(record: type[msgspec.Struct], model: type[Base]) -> list[ColumnElement[Any]]:
    """The model's columns in the order of the record's fields: `Record(*row)` fits the rows of their SELECT."""
    return [getattr(model, name) for name in record.__struct_fields__]
