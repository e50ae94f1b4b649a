"""Indexes that are built or dropped CONCURRENTLY: whether that is done, and what an interrupted build left."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.session import lift_limits
from pgvector_seed.postgres.connection import Connection

_BUILT = """
SELECT n.nspname, x.relname, i.indisvalid, x.oid::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
WHERE i.indrelid = pg_catalog.to_regclass(%s) AND x.relname = (pg_catalog.parse_ident(%s))[1]::pg_catalog.name
"""
_DROPPED = """
SELECT n.nspname, x.relname, i.indisvalid, x.oid::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
WHERE x.oid = pg_catalog.to_regclass(%s)
"""
_IN_PROGRESS = "SELECT pid FROM pg_catalog.pg_stat_progress_create_index WHERE index_relid = %s::oid"


@dataclass(frozen=True)
class IndexNames:
    """An index by the names in a statement, as they are written there; "" where there is none."""

    name: str
    table: str = ""


@dataclass(frozen=True)
class IndexState:
    """An index that is there. While it is being built or dropped, or after an interruption, it is not ``valid``."""

    name: sql.Identifier
    valid: bool
    oid: str


def built(statement: Statement) -> IndexNames | None:
    """What CREATE INDEX CONCURRENTLY builds; None for another statement."""
    words, tokens = statement.words, statement.tokens
    at = 2 if words[:2] == ["CREATE", "UNIQUE"] else 1
    if words[0] != "CREATE" or words[at : at + 2] != ["INDEX", "CONCURRENTLY"]:
        return None
    at += 5 if words[at + 2 : at + 5] == ["IF", "NOT", "EXISTS"] else 2
    on = words.index("ON") if "ON" in words else len(words)
    table = on + (2 if words[on + 1 : on + 2] == ["ONLY"] else 1)
    end = next((place for place in range(table, len(words)) if words[place] in ("(", "USING")), len(words))
    return IndexNames("".join(tokens[at:on]), "".join(tokens[table:end]))


def dropped(statement: Statement) -> IndexNames | None:
    """What DROP INDEX CONCURRENTLY drops; None for another statement."""
    words = statement.words
    if words[:3] != ["DROP", "INDEX", "CONCURRENTLY"]:
        return None
    start = 5 if words[3:5] == ["IF", "EXISTS"] else 3
    end = len(words) - (words[-1] in ("CASCADE", "RESTRICT"))
    return IndexNames("".join(statement.tokens[start:end]))


def look(connection: Connection, statement: Statement) -> IndexState | None:
    """The index that a statement builds or drops; None where there is none, and for another statement."""
    if gone := dropped(statement):
        row = connection.execute(_DROPPED, (gone.name,)).fetchone()
    elif index := built(statement):
        row = connection.execute(_BUILT, (index.table, index.name)).fetchone()
    else:
        return None
    return IndexState(sql.Identifier(row[0], row[1]), row[2], row[3]) if row else None


def is_other(statement: Statement) -> bool:
    """True for what neither builds nor drops an index concurrently."""
    return not (built(statement) or dropped(statement))


def is_done(statement: Statement, found: IndexState | None) -> bool:
    """True when what is there is what the statement leads to."""
    return found is None if dropped(statement) else found is not None and found.valid


def clear(connection: Connection, found: IndexState) -> None:
    """Drop an invalid index without a lock that would stop readers or writers.

    Raises RefusedError while somebody builds it.
    """
    builder = connection.execute(_IN_PROGRESS, (found.oid,)).fetchone()
    if builder:
        name = found.name.as_string(connection)
        raise RefusedError(f"the index {name} is being built by the server process {builder[0]}", "Wait for its end.")
    lift_limits(connection)
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(found.name))
