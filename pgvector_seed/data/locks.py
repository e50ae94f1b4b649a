"""Waiting for another session's lock: with a limit, and naming the session in the error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors, sql

from pgvector_seed.common.errors import WrongResultError
from pgvector_seed.data.session import AGAIN
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sessions import SESSION, describe_session
from pgvector_seed.postgres.snapshot import query_catalog

# SELECT it in a transaction: its statements then wait for 10 seconds, unless the session has a limit of its own.
LOCK_LIMIT = """
pg_catalog.set_config('lock_timeout', CASE pg_catalog.current_setting('lock_timeout') WHEN '0' THEN '10s'
                                      ELSE pg_catalog.current_setting('lock_timeout') END, true)
"""
# The strongest lock first. A SELECT's AccessShareLock blocks no load. A lock that is waited for blocks later ones.
_HOLDER = sql.SQL("""
SELECT {} FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation IN (SELECT relid FROM pg_partition_tree(%s) UNION SELECT %s::oid)
  AND l.pid <> pg_backend_pid() AND l.mode <> 'AccessShareLock'
ORDER BY l.granted DESC, array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock',
  'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock'], l.mode)
LIMIT 1
""").format(SESSION)


@contextmanager
def naming_holder(connection: Connection, target: Target) -> Iterator[None]:
    """Raise WrongResultError, which names the session with the lock, if a statement in the block waited too long."""
    try:
        yield
    except errors.LockNotAvailable as error:
        rows = query_catalog(connection, _HOLDER, (target.oid, target.oid))
        holder = describe_session(rows[0]) if rows else "a session that has ended in the meantime"
        raise WrongResultError(
            f"{target.shown} is locked by {holder}, and the wait was longer than lock_timeout",
            f"Let that session end its transaction. {AGAIN}",
        ) from error
