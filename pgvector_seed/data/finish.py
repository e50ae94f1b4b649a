"""Finish a load: flush the rows to disk, advance the sequence of the ids, and analyze the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import errors, sql

from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sequences import Sequence, find_sequence
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.indexes import indexes_named

# setval stops this many ids before the last one, and nextval takes the rest, so the sequence is not set back unless
# another session takes as many ids between two of our statements.
MARGIN = 100_000
# A commit flushes all earlier ones, but only if its own transaction has written something.
_FLUSH = "SELECT pg_catalog.pg_logical_emit_message(true, 'pgvector_seed', '')"
_NEVER_ANALYZED = "SELECT reltuples < 0 FROM pg_catalog.pg_class WHERE oid = %s"
# The session's own counts of rows must reach the server before ANALYZE sets them: they would be added afterwards.
_REPORT = "SELECT pg_catalog.pg_stat_force_next_flush()"
_LARGEST = "SELECT pg_catalog.max({key}) FROM {table}"
_LAST = "SELECT last_value - CASE WHEN is_called THEN 0 ELSE {increment} END FROM {sequence}"
_SETVAL = "SELECT pg_catalog.setval(%s::pg_catalog.oid::pg_catalog.regclass, %s)"
_NEXTVAL = """
SELECT pg_catalog.max(pg_catalog.nextval(%s::pg_catalog.oid::pg_catalog.regclass))
FROM pg_catalog.generate_series(1, %s)
"""


def flush(connection: Connection) -> None:
    """Wait until all committed rows are on the server's disk: the commits of the blocks did not."""
    connection.execute(_FLUSH)


def finish(connection: Connection, target: Target, *, changed: bool) -> Iterator[str]:
    """Move the sequence past the ids, and analyze the table if it was ``changed`` or never analyzed.

    Yields a note for each of the two that the login may not do, naming the role that may, and for a locked table.
    """
    sequence = _key_sequence(connection, target)
    if sequence is not None:
        try:
            advance(connection, target, sequence)
        except errors.InsufficientPrivilege:
            name = sql.Identifier(sequence.schema, sequence.name).as_string()
            yield f"the next generated id may be in the table: {sequence.owner} may move the sequence {name} past it"
    never = connection.execute(_NEVER_ANALYZED, (target.oid,)).fetchone() == (True,)
    try:
        if (changed or never) and not _analyze(connection, target):
            yield f"not analyzed: {target.owner} may, with ANALYZE {target.shown}; autovacuum will in time"
    except errors.LockNotAvailable:  # another load analyzes for longer than the session's lock_timeout
        yield f"not analyzed: another session has the lock. ANALYZE {target.shown}, or autovacuum will in time"


def unbuilt_indexes(connection: Connection, target: Target) -> list[str]:
    """Return the declared indexes that do not exist yet."""
    with catalog_snapshot(connection):
        return [name for name in target.declared_indexes if not indexes_named(connection, target.name.schema, name)]


def _key_sequence(connection: Connection, target: Target) -> Sequence | None:
    if len(target.key) != 1 or target.columns[target.key[0]].type not in ("int2", "int4", "int8"):
        return None
    sequence = find_sequence(connection, target.oid, target.columns[target.key[0]].number)
    return sequence if sequence and sequence.increment > 0 else None


def advance(connection: Connection, target: Target, sequence: Sequence) -> None:
    """Move the sequence past the largest id, never back, also while another session takes ids from it.

    Raises InsufficientPrivilege if this login may not.
    """
    names = {"table": target.sql_name, "key": sql.Identifier(target.key[0])}
    names["sequence"] = sql.Identifier(sequence.schema, sequence.name)
    largest = _value(connection, sql.SQL(_LARGEST).format(**names))
    last = _value(connection, sql.SQL(_LAST).format(**names, increment=sql.Literal(sequence.increment)))
    if largest is None or not sequence.minimum <= largest <= sequence.maximum:
        return  # beyond its maximum, the sequence cannot meet that id
    steps = -((last - largest) // sequence.increment)
    if steps > 2 * MARGIN:
        last += (steps - MARGIN) * sequence.increment
        connection.execute(_SETVAL, (sequence.oid, last))
        steps = MARGIN
    if steps > 0 and last + steps * sequence.increment <= sequence.maximum:
        connection.execute(_NEXTVAL, (sequence.oid, steps))


def _value(connection: Connection, query: sql.Composed) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _analyze(connection: Connection, target: Target) -> bool:
    """Analyze the table. Returns False if the login may not, of which the server only warns."""
    severities: list[str | None] = []

    def note(diagnostic: errors.Diagnostic) -> None:  # which is empty after this call
        severities.append(diagnostic.severity_nonlocalized)

    connection.execute(_REPORT)
    connection.add_notice_handler(note)
    try:
        connection.execute(sql.SQL("ANALYZE {}").format(target.sql_name))
    finally:
        connection.remove_notice_handler(note)
    return "WARNING" not in severities
