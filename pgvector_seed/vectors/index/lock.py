"""The lock of one index, and waiting for other sessions that build indexes or hold locks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from psycopg import errors, sql

from pgvector_seed.common.errors import InterruptError
from pgvector_seed.common.text import printable
from pgvector_seed.postgres.advisory import POLL_SECONDS, unlock, wait_for_lock
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import pause, stoppable
from pgvector_seed.postgres.pooler import refuse_pooler
from pgvector_seed.postgres.sessions import SESSION, Progress, describe_session
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.memory import build_session

LOCK_TIMEOUT = "500ms"  # the queries of a table wait behind a statement that waits for a lock on it
RETRY_SECONDS = 1.0

# pg_locks has the table of a build also where another role's progress does not.
_BUILDERS = sql.SQL("""
SELECT p.index_relid,
       CASE WHEN p.tuples_total > 0 AND p.blocks_done >= p.blocks_total THEN 100 * p.tuples_done / p.tuples_total
            WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total END,
       {}
FROM pg_stat_progress_create_index p
JOIN pg_stat_activity a ON a.pid = p.pid
WHERE p.datname = current_database() AND p.pid <> pg_backend_pid()
  AND EXISTS (SELECT FROM pg_locks l
              WHERE l.pid = p.pid AND l.locktype = 'relation' AND l.relation = ANY (%s) AND l.granted
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock'))
ORDER BY a.pid
LIMIT 1
""").format(SESSION)
# The strongest lock first.
_HOLDER = sql.SQL("""
SELECT {} FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation = ANY (%s) AND l.pid <> pg_backend_pid()
ORDER BY l.granted DESC, array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock',
  'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock'], l.mode)
LIMIT 1
""").format(SESSION)


def lock_key(schema: str, name: str) -> int:
    """Return the key of an index's advisory lock."""
    words = json.dumps(["pgvector_seed index", schema, name]).encode()
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "big", signed=True)


@contextmanager
def index_locked(connection: Connection, schema: str, name: str, report: Progress) -> Iterator[int]:
    """Hold the lock of an index, in a session without limits, and yield its key. If another session has it, wait.

    Raises RefusedError behind a connection pooler that shares sessions; InterruptError after an interrupt.
    """
    refuse_pooler(connection)
    key, shown = lock_key(schema, name), printable(f"{schema}.{name}")
    try:
        with build_session(connection), stoppable(connection):
            try:
                wait_for_lock(connection, key, f"the lock of the index {shown}", report)
                yield key
            finally:
                unlock(connection, key)
    except (KeyboardInterrupt, InterruptError) as interrupt:
        raise InterruptError(f"the index {shown} is not finished") from interrupt


def find_index_builder(connection: Connection, tables: Sequence[int]) -> tuple[int | None, int | None, str, int] | None:
    """Return the other session that builds an index on one of these tables, or None if there is none.

    The tuple has the oid of the index and the per cent done, each None if unknown, the session in words, and its
    server process.
    """
    rows = query_catalog(connection, _BUILDERS, (list(tables),))
    if not rows:
        return None
    index, percent, *session = rows[0]
    return index, None if percent is None else int(percent), describe_session(session), session[3]


def wait_for_builders(connection: Connection, tables: Sequence[int], name: str, report: Progress) -> bool:
    """Wait while another session builds an index on one of these tables: two builds of a table are a deadlock.

    Returns False if there was nothing to wait for.
    """
    reported: int | None = None
    while row := find_index_builder(connection, tables):
        _, _, builder, pid = row
        if pid != reported:
            reported = pid
            report(f"{name}: waiting for the build of an index by {builder}")
        pause(POLL_SECONDS)
    return reported is not None


def with_short_locks(
    connection: Connection, relations: Sequence[int], name: str, report: Progress, work: Callable[[], None]
) -> None:
    """Do ``work`` in a transaction that waits for a lock LOCK_TIMEOUT at most, again and again until it succeeds.

    ``relations`` are the oids that it locks: the session in the way is reported.
    """
    reported: int | None = None
    while True:
        try:
            with connection.transaction():
                connection.execute("SELECT pg_catalog.set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
                work()
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            for holder in query_catalog(connection, _HOLDER, (list(relations),)):
                if holder[3] != reported:
                    report(f"{name}: waiting for a lock of {describe_session(holder)}")
                reported = holder[3]
            pause(RETRY_SECONDS)
        else:
            return
