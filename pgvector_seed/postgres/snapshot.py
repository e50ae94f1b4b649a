"""Querying the system catalogs safely, and setting the search_path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import ClientCursor, Cursor, pq, sql
from psycopg.abc import Params, Query

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
    begin, rollback = _brackets(connection)
    try:
        connection.execute(begin, prepare=False)
        yield
    except BaseException:
        with suppress(psycopg.Error):  # the first error is the one to report
            connection.execute(rollback, prepare=False)
        raise
    connection.execute(rollback, prepare=False)


def query_catalog(connection: Connection, query: Query, parameters: Params | None = None) -> list[tuple[Any, ...]]:
    """Return the rows of one query in a ``catalog_snapshot`` of its own, in one round trip to the server.

    The parameters are bound here: a message with several statements cannot carry any.
    """
    begin, rollback = _brackets(connection)
    with ClientCursor(connection) as cursor:
        statements = f"{begin};\n{cursor.mogrify(query, parameters)}\n;{rollback}"  # the query may end with a comment
        try:
            cursor.execute(statements.encode())
        except BaseException:
            with suppress(psycopg.Error):  # the first error is the one to report
                connection.execute(rollback, prepare=False)
            raise
        return rows(cursor)


def rows(cursor: Cursor[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of the first statement that has a result, of several in one message."""
    while cursor.description is None and cursor.nextset():
        pass
    return cursor.fetchall()


def _brackets(connection: Connection) -> tuple[LiteralString, LiteralString]:
    """Return the statements that begin and end a snapshot, which is a savepoint inside of a transaction."""
    outermost = connection.info.transaction_status == pq.TransactionStatus.IDLE
    return (_BEGIN, _ROLLBACK) if outermost else (_BEGIN_INSIDE, _ROLLBACK_INSIDE)
