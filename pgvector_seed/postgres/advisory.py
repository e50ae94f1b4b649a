"""Session advisory locks, which the server releases when their holder dies."""

from __future__ import annotations

from psycopg import sql
from psycopg.pq import TransactionStatus

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import pause
from pgvector_seed.postgres.sessions import SESSION, Progress, describe_session
from pgvector_seed.postgres.snapshot import query_catalog

POLL_SECONDS = 0.2

HOLDERS_PID = sql.SQL("""
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = %s
""")
_HOLDER = sql.SQL("SELECT {} FROM pg_stat_activity a WHERE a.pid = ({})").format(SESSION, HOLDERS_PID)


def wait_for_lock(connection: Connection, key: int, name: str, report: Progress) -> None:
    """Take the lock ``key``. If another session holds it, report that session, with the lock's ``name``, and wait."""
    if _try_lock(connection, key):
        return
    report(f"waiting for {name}, which {_holder(connection, key)} holds")
    # Polled, because a blocking pg_advisory_lock is a running statement, and the holder's CREATE INDEX CONCURRENTLY
    # waits for every running statement: a deadlock.
    while not _try_lock(connection, key):
        pause(POLL_SECONDS)


def unlock(connection: Connection, key: int) -> None:
    """Release the lock, unless the connection was lost or interrupted: closing it then releases the lock."""
    if connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
        connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (key,))


def holders_pid(connection: Connection, key: int) -> int | None:
    """Return the server process of the session that holds the lock, or None."""
    rows = query_catalog(connection, HOLDERS_PID, (key,))
    return rows[0][0] if rows else None


def _try_lock(connection: Connection, key: int) -> bool:
    row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (key,)).fetchone()
    return row is not None and bool(row[0])


def _holder(connection: Connection, key: int) -> str:
    rows = query_catalog(connection, _HOLDER, (key,))
    return describe_session(rows[0]) if rows else "a session that is about to end"
