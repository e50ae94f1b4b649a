"""CREATE and DROP INDEX CONCURRENTLY: the index that a statement names, and its state after an interruption."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.session import lift_limits
from pgvector_seed.postgres.catalog import find_builder
from pgvector_seed.postgres.connection import Connection

_INDEX = """
SELECT n.nspname, x.relname, i.indisvalid, x.oid::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
"""
_BUILT = f"""{_INDEX}
WHERE i.indrelid = pg_catalog.to_regclass(%s)::oid AND x.relname = (pg_catalog.parse_ident(%s))[1]::pg_catalog.name
"""
_DROPPED = f"{_INDEX} WHERE x.oid = pg_catalog.to_regclass(%s)::oid"


@dataclass(frozen=True)
class IndexNames:
    """An index and its table as a statement writes them, each "" if it does not name one."""

    name: str
    table: str = ""


@dataclass(frozen=True)
class IndexState:
    """An existing index. It is not ``valid`` while it is being built or dropped, nor after an interruption."""

    name: sql.Identifier
    valid: bool
    oid: str


def built_index(statement: Statement) -> IndexNames | None:
    """Return the index that CREATE INDEX CONCURRENTLY builds, or None for another statement."""
    words, tokens = statement.words, statement.tokens
    start = 2 if words[:2] == ["CREATE", "UNIQUE"] else 1
    if words[0] != "CREATE" or words[start : start + 2] != ["INDEX", "CONCURRENTLY"]:
        return None
    start += 5 if words[start + 2 : start + 5] == ["IF", "NOT", "EXISTS"] else 2
    on = words.index("ON") if "ON" in words else len(words)
    table = on + (2 if words[on + 1 : on + 2] == ["ONLY"] else 1)
    end = next((index for index in range(table, len(words)) if words[index] in ("(", "USING")), len(words))
    return IndexNames("".join(tokens[start:on]), "".join(tokens[table:end]))


def dropped_index(statement: Statement) -> IndexNames | None:
    """Return the index that DROP INDEX CONCURRENTLY drops, or None for another statement."""
    words = statement.words
    if words[:3] != ["DROP", "INDEX", "CONCURRENTLY"]:
        return None
    start = 5 if words[3:5] == ["IF", "EXISTS"] else 3
    end = len(words) - (words[-1] in ("CASCADE", "RESTRICT"))
    return IndexNames("".join(statement.tokens[start:end]))


def find_index(connection: Connection, statement: Statement) -> IndexState | None:
    """Return the index that a statement builds or drops, or None if there is none, or for another statement."""
    if dropped := dropped_index(statement):
        row = connection.execute(_DROPPED, (dropped.name,)).fetchone()
    elif built := built_index(statement):
        row = connection.execute(_BUILT, (built.table, built.name)).fetchone()
    else:
        return None
    return IndexState(sql.Identifier(row[0], row[1]), row[2], row[3]) if row else None


def builds_or_drops(statement: Statement) -> bool:
    """Return True if a statement builds or drops an index concurrently."""
    return bool(built_index(statement) or dropped_index(statement))


def is_done(statement: Statement, index: IndexState | None) -> bool:
    """Return True if ``index``, as ``find_index`` returned it, is as the statement leaves it."""
    return index is None if dropped_index(statement) else index is not None and index.valid


def drop_invalid(connection: Connection, index: IndexState) -> None:
    """Drop an invalid index without blocking readers or writers.

    Raises RefusedError if another session is building it.
    """
    builder = find_builder(connection, int(index.oid))
    if builder and builder.certain:
        name = index.name.as_string(connection)
        raise RefusedError(
            f"the index {name} is being built by the server process {builder.pid}",
            "Run the same command again when the build has ended.",
        )
    lift_limits(connection)
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(index.name))
