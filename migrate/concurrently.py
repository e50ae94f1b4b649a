"""Indexes that are built or dropped CONCURRENTLY: whether that is done, and what an interrupted build left."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from migrate.statements import Statement
from postgres.connection import Connection

_BUILT = """
SELECT n.nspname, x.relname, i.indisvalid
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
WHERE i.indrelid = pg_catalog.to_regclass(%s) AND x.relname = (pg_catalog.parse_ident(%s))[1]::pg_catalog.name
"""
_GONE = "SELECT pg_catalog.to_regclass(%s) IS NULL"


@dataclass(frozen=True)
class Index:
    """An index by the names in a statement, as they are written there; "" where there is none."""

    name: str
    table: str = ""


@dataclass(frozen=True)
class Found:
    """What a statement finds: its effect already ``done``, or the ``leftover`` of an interrupted build.

    A leftover is an invalid index; while somebody builds it, it looks the same.
    """

    done: bool = False
    leftover: sql.Identifier | None = None


def built(statement: Statement) -> Index | None:
    """What CREATE INDEX CONCURRENTLY builds; None for another statement."""
    words, tokens = statement.words, statement.tokens
    at = 2 if words[:2] == ["CREATE", "UNIQUE"] else 1
    if words[0] != "CREATE" or words[at : at + 2] != ["INDEX", "CONCURRENTLY"]:
        return None
    at += 5 if words[at + 2 : at + 5] == ["IF", "NOT", "EXISTS"] else 2
    on = words.index("ON") if "ON" in words else len(words)
    table = on + (2 if words[on + 1 : on + 2] == ["ONLY"] else 1)
    end = next((place for place in range(table, len(words)) if words[place] in ("(", "USING")), len(words))
    return Index("".join(tokens[at:on]), "".join(tokens[table:end]))


def dropped(statement: Statement) -> Index | None:
    """What DROP INDEX CONCURRENTLY drops; None for another statement."""
    words = statement.words
    if words[:3] != ["DROP", "INDEX", "CONCURRENTLY"]:
        return None
    start = 5 if words[3:5] == ["IF", "EXISTS"] else 3
    end = len(words) - (words[-1] in ("CASCADE", "RESTRICT"))
    return Index("".join(statement.tokens[start:end]))


def look(connection: Connection, statement: Statement) -> Found:
    """What there is of the index that a statement builds or drops; nothing for another statement."""
    if gone := dropped(statement):
        row = connection.execute(_GONE, (gone.name,)).fetchone()
        return Found(done=row == (True,))
    index = built(statement)
    row = connection.execute(_BUILT, (index.table, index.name)).fetchone() if index else None
    if row is None:
        return Found()
    schema, name, valid = row
    return Found(done=True) if valid else Found(leftover=sql.Identifier(schema, name))


def clear(connection: Connection, leftover: sql.Identifier) -> None:
    """Drop a leftover without a lock that would stop readers or writers."""
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(leftover))
