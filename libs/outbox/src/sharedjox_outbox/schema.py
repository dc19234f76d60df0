"""The outbox table. Its DDL is applied by the api's migrations; everybody else only reads and writes rows."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = MetaData()

SHARDS: Final = 16
"""Relays divide the work by shard; a channel always falls into the same one, so its order is one relay's business."""

outbox_messages: Final = Table(
    "outbox_messages",
    metadata,
    # Assigned while the channel's lock is held until commit: ascending id is commit order within a channel.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("channel", String(200), nullable=False),
    Column("event_name", String(200), nullable=False),
    Column("payload", JSONB, nullable=False),
    # The connection that caused the event and must not get it back (X-Socket-ID, "toOthers").
    Column("except_socket_id", String(64), nullable=True),
    Column("request_id", String(64), nullable=True),
    Column("traceparent", String(64), nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text, nullable=True),
    Column("published_at", DateTime(timezone=True), nullable=True),
    # Set when the row can never be published (poisoned); an operator looks at it, the channel goes on without it.
    Column("parked_at", DateTime(timezone=True), nullable=True),
    UniqueConstraint("event_id", "channel", name="uq_outbox_messages_event_id_channel"),
    Index(
        "ix_outbox_messages_pending",
        "shard",
        "id",
        postgresql_where=text("published_at IS NULL AND parked_at IS NULL"),
    ),
    Index("ix_outbox_messages_parked", "parked_at", postgresql_where=text("parked_at IS NOT NULL")),
    Index("ix_outbox_messages_published_at", "published_at", postgresql_where=text("published_at IS NOT NULL")),
)
