"""The migration lock: a session advisory lock, which the server releases when its holder dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import Error, InterruptError
from pgvector_seed.common.text import printable
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import ending_with_client, pause, stoppable
from pgvector_seed.postgres.pooler import refuse_pooler
from pgvector_seed.postgres.snapshot import query_catalog

Progress = Callable[[str], None]  # gets a line of progress

# The first 8 bytes of sha256("pgvector_seed") as a signed bigint, so that no other application has it by chance.
LOCK_KEY = -8128092972461669087

POLL_SECONDS = 0.2

WAIT = "Wait until it has ended, then run the same command again."

HOLDERS_PID = sql.SQL("""
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32 | objid::bigint) = %s
""")
# The columns of pg_stat_activity, named a, that ``describe_session`` takes.
SESSION = sql.SQL("""
a.usename, a.application_name, host(a.client_addr), a.pid, date_trunc('second', now() - a.backend_start)::text
""")
_HOLDER = sql.SQL("SELECT {} FROM pg_stat_activity a WHERE a.pid = ({})").format(SESSION, HOLDERS_PID)


@contextmanager
def locked(connection: Connection, report: Progress) -> Iterator[None]:
    """Hold the migration lock. If another session holds it, report its owner and wait.

    Raises RefusedError behind a connection pooler that shares sessions; InterruptError, with the newest recorded
    migration, after an interrupt.
    """
    refuse_pooler(connection)
    connection.execute(ending_with_client(local=False))
    holding = False
    try:
        with stoppable(connection):
            _wait(connection, report)
            holding = True
            yield
    except (KeyboardInterrupt, InterruptError) as interrupt:
        raise InterruptError(_describe_ledger(connection) if holding else "nothing was run") from interrupt
    finally:
        # A connection that was lost, or interrupted before it had its answer, releases the lock when it is closed.
        if connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (LOCK_KEY,))


def _wait(connection: Connection, report: Progress) -> None:
    if _try_lock(connection):
        return
    report(f"waiting for the migration lock, which {_holder(connection)} holds")
    # Polled, because a blocking pg_advisory_lock is a running statement, and the holder's CREATE INDEX CONCURRENTLY
    # waits for every running statement: a deadlock.
    while not _try_lock(connection):
        pause(POLL_SECONDS)


def _describe_ledger(connection: Connection) -> str:
    """Return the state of the ledger in words: an interrupt may come while the server commits."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        return ""  # the ledger would be read uncommitted
    try:
        ledger = read_ledger(connection)
    except (psycopg.Error, Error):
        return ""
    ids = [*ledger.migrations] if ledger else []
    newest = f"{ids[-1]} is the newest recorded migration" if ids else "no migration is recorded"
    if ledger and ledger.unfinished:
        return f"{newest}; {ledger.unfinished['file']} was begun outside of a transaction"
    if not ids:
        return f"{newest}; all work was rolled back"
    return f"{newest}, and stays; later work was rolled back"


def _try_lock(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
    return row is not None and bool(row[0])


@dataclass(frozen=True)
class Begun:
    """A migration that was begun outside of a transaction and is not recorded as done.

    ``pid`` is the server process that runs it, or None if it was interrupted.
    """

    file: str
    pid: int | None

    @property
    def message(self) -> str:
        """The state of the migration in words."""
        if self.pid:
            return f"{self.file} is running, in server process {self.pid}"
        return f"{self.file} was begun and is not recorded as done"

    @property
    def remedy(self) -> str:
        """The next command."""
        return WAIT if self.pid else f"Run the interrupted command again, such as: {PROGRAM} migrate apply"


def begun(connection: Connection, ledger: Ledger | None) -> Begun | None:
    """Return the migration that the ledger records as begun, or None.

    The holder of the migration lock is taken for its runner: it runs, or first completes, what is begun.
    """
    if ledger is None or not ledger.unfinished:
        return None
    return Begun(ledger.unfinished["file"], holders_pid(connection))


def holders_pid(connection: Connection) -> int | None:
    """Return the server process of the session that holds the migration lock, or None."""
    rows = query_catalog(connection, HOLDERS_PID, (LOCK_KEY,))
    return rows[0][0] if rows else None


def _holder(connection: Connection) -> str:
    rows = query_catalog(connection, _HOLDER, (LOCK_KEY,))
    return describe_session(rows[0]) if rows else "a session that is about to end"


def describe_session(row: Sequence[Any]) -> str:
    """Return the session of a row of SESSION in words. Its columns are None if there is no such session."""
    user, application, address, pid, age = row
    if pid is None:
        return "an unknown session"
    if age is None:
        return f"server process {pid} (its user is shown to members of pg_read_all_stats)"
    return printable(
        f"{user} ({application or 'unnamed'}, {address or 'local'}, server process {pid}, connected for {age})"
    )
