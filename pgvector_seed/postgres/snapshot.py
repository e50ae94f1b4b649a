"""Reading the system catalogs safely, and the search_path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import pq, sql

from pgvector_seed.postgres.connection import Connection

ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def set_search_path(connection: Connection, *schemas: str) -> None:
    """Until the transaction ends, unqualified names are looked up in these schemas."""
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(names))


@contextmanager
def nothing_on_path(connection: Connection) -> Iterator[None]:
    """Inside, names and operators are looked up in pg_catalog alone, and afterwards as before.

    With another schema on the search_path, whoever may create in it can give a query of the catalogue an
    operator that fits better than PostgreSQL's own, and run as whoever asks. The transaction, or a part of the
    one around it, is rolled back: it is for reading.
    All that is asked in it is of one moment, so that what was judged is what is then read.
    """
    outermost = connection.info.transaction_status == pq.TransactionStatus.IDLE
    with connection.transaction(force_rollback=True):
        if outermost:
            connection.execute(ONE_SNAPSHOT)
        connection.execute("SELECT pg_catalog.set_config('search_path', '', true)")
        yield
