"""Load rows whose keys the database generates: all in one transaction, into an empty table."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.locks import LOCK_LIMIT, naming_holder
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.session import refusals
from pgvector_seed.data.store import Counts, copy
from pgvector_seed.data.target import Target
from pgvector_seed.data.unit import Count, Part
from pgvector_seed.postgres.connection import Connection

_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
_LOCK = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"


def load_generated(
    connection: Connection, target: Target, parts: Sequence[Part], rejects: Rejects, count: Count
) -> None:
    """Copy everything in one transaction into the empty table: without keys, a second run could not see the first."""
    done: list[tuple[Counts, int]] = []
    with refusals(), naming_holder(connection, target), connection.transaction():
        connection.execute(f"SELECT {LOCK_LIMIT}")
        connection.execute(sql.SQL(_LOCK).format(table=target.sql_name))
        if not is_empty(connection, target):
            raise InputError(
                f"{target.shown} has rows, and the files have no keys: a second load would double them",
                "Give the keys: a column, --ids FILE.npy, or --number-from 1",
            )
        for part in parts:
            for rows, faults in part.prepared(target):
                rejects.add(faults)
                done.append((copy(connection, target, rows), rows.size))
    for counts, size in done:
        count(counts, size)


def is_empty(connection: Connection, target: Target) -> bool:
    """Return True if the table has no rows."""
    return connection.execute(sql.SQL(_IS_EMPTY).format(table=target.sql_name)).fetchone() == (True,)
