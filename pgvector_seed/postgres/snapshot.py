"""Querying the system catalogs safely, and setting the search_path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import pq, sql

from pgvector_seed.postgres.connection import Connection

# Without pg_temp in the path, temporary tables would be searched first.
_PATH = "SET LOCAL search_path TO pg_catalog, pg_temp"
_BEGIN = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_PATH}"  # a standby knows no SERIALIZABLE
_ROLLBACK = "ROLLBACK"
_BEGIN_INSIDE = f"SAVEPOINT catalog_snapshot; {_PATH}"
_ROLLBACK_INSIDE = "ROLLBACK TO catalog_snapshot; RELEASE catalog_snapshot"


def set_search_path(connection: Connection, *schemas: str) -> None:
    """Set the search_path to ``schemas`` until the transaction ends."""
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(names))


@contextmanager
def catalog_snapshot(connection: Connection) -> Iterator[None]:
    """Query the system catalogs in one snapshot, always rolled back.

    Names and operators are looked up in pg_catalog alone: a look-alike operator in a user's schema would otherwise run
    with the privileges of this session (CVE-2018-1058). All queries in the block see one snapshot, so facts that were
    checked cannot change before they are used; in a transaction it is that transaction's snapshot.
    """
    outermost = connection.info.transaction_status == pq.TransactionStatus.IDLE
    rollback = _ROLLBACK if outermost else _ROLLBACK_INSIDE
    try:
        connection.execute(_BEGIN if outermost else _BEGIN_INSIDE, prepare=False)
        yield
    except BaseException:
        with suppress(psycopg.Error):  # the first error is the one to report
            connection.execute(rollback, prepare=False)
        raise
    connection.execute(rollback, prepare=False)
