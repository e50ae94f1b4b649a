"""Detecting a connection pooler that shares sessions, where an advisory lock does not hold."""

from __future__ import annotations

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.remedies import settings
from pgvector_seed.postgres.connection import Connection, connect, conninfo_of_server

TRANSACTIONS = 10  # with six busy clients, one transaction showed the pooler in only five of six trials
_MARK = "SELECT pg_catalog.set_config('pgvector_seed.marked', 'yes', false)"
_MARKED = "SELECT pg_catalog.current_setting('pgvector_seed.marked', true)"


def refuse_pooler(connection: Connection) -> None:
    """Raise RefusedError if a pooler may run the next transaction in another session, without this one's lock.

    A pooler or proxy invents the process id of the cancel key (PgBouncer: welcome_client in proto.c), so that it
    differs from pg_backend_pid(). If both are equal, this is the server itself.
    """
    if _process(connection) != connection.info.backend_pid and not _keeps_session(connection):
        raise RefusedError(
            "the connection goes through a pooler that shares sessions, where an advisory lock does not hold",
            f"Connect to the server itself: PGHOST, PGPORT (Pulumi: {settings('host', 'port')}).",
        )


def _keeps_session(connection: Connection) -> bool:
    """Return True behind a proxy that keeps one session for each client, as Neon's does.

    A pooler hands its last or its next session to each transaction, so two clients meet the same server process, or
    one client several. A pooler that resets sessions in between loses a setting.
    """
    connection.execute(_MARK)
    with connect(conninfo_of_server(connection)) as second:
        processes, second_processes = _processes(connection), _processes(second)
    keeps_setting = connection.execute(_MARKED).fetchone() == ("yes",)
    return keeps_setting and len(processes) == len(second_processes) == 1 and processes != second_processes


def _processes(connection: Connection) -> set[int]:
    """Return the ids of the server processes that run the next TRANSACTIONS transactions."""
    return {_process(connection) for _ in range(TRANSACTIONS)}


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
