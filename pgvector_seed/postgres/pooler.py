"""Whether a session is its client's own: behind a connection pooler it may be anybody's."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.postgres.connection import Connection, connect

TRANSACTIONS = 10  # with six busy clients, one showed a pooler five times of six
_MARK = "SELECT pg_catalog.set_config('pgvector_seed.marked', 'yes', false)"
_MARKED = "SELECT pg_catalog.current_setting('pgvector_seed.marked', true)"


def refuse_pooler(connection: Connection) -> None:
    """Raise RefusedError where the next transaction may be in another session, with a lock left behind in this one.

    What stands in between makes up the key for cancelling, so that its process is not the one that answers
    (PgBouncer: welcome_client in proto.c). The server itself is known by this alone.
    """
    if _process(connection) != connection.info.backend_pid and not _is_own(connection):
        raise RefusedError(
            "a connection pooler stands in between, where the lock that keeps two runs apart does not hold",
            "Connect to the server itself for migrations: PGHOST, PGPORT (Pulumi: the keys host and port).",
        )


def _is_own(connection: Connection) -> bool:
    """A proxy may make up the key and still keep a session for each client, as Neon's does.

    A pooler gives the session that it used last to whoever comes next, or goes round: then a second client gets
    this one's process, or this one gets several. A setting is lost where sessions are reset in between.
    """
    connection.execute(_MARK)
    same_way = make_conninfo(connection.info.dsn, password=connection.info.password)
    with connect(same_way) as second:
        mine, others = _processes(connection), _processes(second)
    return len(mine) == len(others) == 1 and mine != others and connection.execute(_MARKED).fetchone() == ("yes",)


def _processes(connection: Connection) -> set[int]:
    """The server's processes that serve the next few transactions."""
    return {_process(connection) for _ in range(TRANSACTIONS)}


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
