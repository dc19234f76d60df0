"""What a release that knows the earlier schema would stumble over in a later one, by Postgres' own catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS required, a.atthasdef OR a.attidentity <> '' AS filled
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
# Primary keys and unique constraints are indexes too; they are read as such.
RULES = """
SELECT conrelid::regclass::text AS table, conname AS name, conname || ' ' || pg_get_constraintdef(oid) AS text
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'x')
"""
UNIQUE = """
SELECT i.indrelid::regclass::text AS table, c.relname AS name, pg_get_indexdef(i.indexrelid) AS text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
"""
TRIGGERS = """
SELECT tgrelid::regclass::text AS table, tgname AS name, pg_get_triggerdef(oid) AS text
FROM pg_trigger WHERE NOT tgisinternal
"""
VARCHAR = re.compile(r"character varying\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as an INSERT that may not know it meets it."""

    type: str
    required: bool
    filled: bool
    """Whether Postgres fills it in when it is not given."""


@dataclass(slots=True)
class Schema:
    """Columns by (table, column); rules, unique indexes and triggers by (table, name)."""

    columns: dict[tuple[str, str], Column] = field(default_factory=dict)
    rules: dict[tuple[str, str], str] = field(default_factory=dict)
    unique: dict[tuple[str, str], str] = field(default_factory=dict)
    triggers: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def tables(self) -> set[str]:
        """Their names."""
        return {table for table, _ in self.columns}


async def read_schema(connection: Any) -> Schema:
    """The public schema of an asyncpg connection's database."""
    schema = Schema()
    for row in await connection.fetch(COLUMNS):
        schema.columns[row["table"], row["column"]] = Column(row["type"], row["required"], row["filled"])
    for statement, found in ((RULES, schema.rules), (UNIQUE, schema.unique), (TRIGGERS, schema.triggers)):
        found.update({(row["table"], row["name"]): row["text"] for row in await connection.fetch(statement)})
    return schema


def what_old_code_misses(before: Schema, after: Schema, new_rules: Mapping[str, str] | None = None) -> list[str]:
    """One line for each change that breaks statements written for `before`.

    `new_rules` names constraints and unique indexes on old tables that old code cannot violate, with the reason.
    """
    gone = before.tables - after.tables
    lines = [f"{table} is gone" for table in sorted(gone)]
    for (table, name), column in before.columns.items():
        if table not in gone:
            lines += _changes(f"{table}.{name}", column, after.columns.get((table, name)))
    for (table, name), column in after.columns.items():
        is_new = table in before.tables and (table, name) not in before.columns
        if is_new and column.required and not column.filled:
            lines.append(f"{table}.{name} must be given by those who do not know it")
    return lines + _rules(before, after, set(new_rules or {}))


def _changes(name: str, was: Column, now: Column | None) -> list[str]:
    if now is None:
        return [f"{name} is gone"]
    lines = []
    if was.type != now.type and not _is_wider(was.type, now.type):
        lines.append(f"{name} was {was.type} and is {now.type}")
    if now.required and not was.required:
        lines.append(f"{name} was optional")
    if was.filled and not now.filled:
        lines.append(f"{name} lost its default")
    return lines


def _is_wider(was: str, now: str) -> bool:
    old, new = VARCHAR.fullmatch(was), VARCHAR.fullmatch(now)
    return old is not None and (now == "text" or (new is not None and int(new[1]) >= int(old[1])))


def _rules(before: Schema, after: Schema, allowed: set[str]) -> list[str]:
    lines = []
    for old, new in ((before.rules, after.rules), (before.unique, after.unique)):
        for (table, name), text in new.items():
            if table in before.tables and old.get((table, name)) != text and name not in allowed:
                lines.append(f"{table} has a new rule: {text}")
    for (table, name), text in after.triggers.items():
        if table in before.tables and before.triggers.get((table, name)) != text:
            lines.append(f"{table} has a new trigger: {name}")
    for table, name in before.unique:
        # ON CONFLICT needs it.
        if table in after.tables and (table, name) not in after.unique:
            lines.append(f"{table} lost its unique index {name}")
    return lines
