"""The migration lock: a session advisory lock, which the server releases when its holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import Error, InterruptError
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.advisory import holders_pid, unlock, wait_for_lock
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import ending_with_client, stoppable
from pgvector_seed.postgres.pooler import refuse_pooler
from pgvector_seed.postgres.sessions import Progress

# The first 8 bytes of sha256("pgvector_seed") as a signed bigint, so that no other application has it by chance.
LOCK_KEY = -8128092972461669087

WAIT = "Wait until it has ended, then run the same command again."


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
            wait_for_lock(connection, LOCK_KEY, "the migration lock", report)
            holding = True
            yield
    except (KeyboardInterrupt, InterruptError) as interrupt:
        raise InterruptError(_describe_ledger(connection) if holding else "nothing was run") from interrupt
    finally:
        unlock(connection, LOCK_KEY)


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
    return Begun(ledger.unfinished["file"], holders_pid(connection, LOCK_KEY))
