"""Detecting the objects that migrations reach outside of the scratch schema.

A second session locks every existing table as a writer does, so a statement that alters or drops one, or builds an
index on it, runs into the lock timeout, and no other session has to wait. Other objects that a statement reached show
in the locks of its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.postgres.connection import Connection, connect

LOCK_TIMEOUT = "200ms"  # only the second session can hold a lock that a migration needs

_ROWS_ONLY = ("INSERT", "SELECT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH", "SET")
_IN_NO_SCHEMA = {
    *("ACCESS", "CAST", "DATABASE", "EVENT", "GROUP", "LANGUAGE", "PUBLICATION", "ROLE", "SCHEMA", "SERVER"),
    *("SUBSCRIPTION", "SYSTEM", "TABLESPACE", "TRANSFORM", "USER"),
}

# The tables that this login may write to: it can lock no others, nor alter them.
_TABLES = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname, c.relname
"""
# The relations that a session has locked, other than to read them, the types, routines and extensions, and the schemas
# in which it creates objects. Its own uncommitted objects cannot be seen from here.
_REACHED = """
SELECT pg_catalog.pg_describe_object(coalesce(l.classid, 'pg_catalog.pg_class'::pg_catalog.regclass),
                                     coalesce(l.objid, l.relation), 0)
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
LEFT JOIN pg_catalog.pg_type t ON l.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = l.objid
LEFT JOIN pg_catalog.pg_proc p ON l.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = l.objid
LEFT JOIN pg_catalog.pg_extension e ON l.classid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.oid = l.objid
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace, p.pronamespace, e.extnamespace,
  CASE WHEN l.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN l.objid END)
WHERE l.pid = %s AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND (l.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
       OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
LIMIT 1
"""


@dataclass(frozen=True)
class Watch:
    """A second session, which cannot see the uncommitted objects of the watched one, process ``pid``."""

    session: Connection
    pid: int

    def reached(self) -> str | None:
        """Return an object that the watched transaction has locked and not created itself, or None."""
        row = self.session.execute(_REACHED, (self.pid,)).fetchone()
        return row[0] if row else None


@contextmanager
def watched(connection: Connection) -> Iterator[Watch]:
    """Lock every table that this login may write to, in a second session, in ROW EXCLUSIVE mode.

    Raises RefusedError if a table cannot be locked in 10 seconds.
    """
    with connect(_same_server(connection)) as session, session.transaction(force_rollback=True):
        tables = [sql.Identifier(*names) for names in session.execute(_TABLES)]
        if tables:
            _lock(session, tables)
        yield Watch(session, connection.info.backend_pid)


def _lock(session: Connection, tables: list[sql.Identifier]) -> None:
    lock = sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(sql.SQL(", ").join(tables))
    try:
        session.execute(sql.SQL("SET LOCAL lock_timeout TO '10s'; ") + lock, prepare=False)
    except errors.LockNotAvailable as error:
        raise RefusedError(
            "another session is altering the tables: they cannot be compared meanwhile",
            "Run the same command again when that session is done.",
        ) from error


def _same_server(connection: Connection) -> str:
    """Return the conninfo of this session, with only the host to which it is connected."""
    info = connection.info
    return make_conninfo(info.dsn, host=info.host, hostaddr=info.hostaddr, port=info.port, password=info.password)


def changes_rows_only(statement: Statement) -> bool:
    """Return True if a statement itself creates, alters and drops no object."""
    return statement.words[0] in _ROWS_ONLY


def changes_object_without_schema(statement: Statement) -> bool:
    """Return True if a statement creates, alters or drops an object that is in no schema, such as a role."""
    words = statement.words
    return words[:2] == ["DROP", "EXTENSION"] or (words[0] in ("CREATE", "ALTER", "DROP") and words[1] in _IN_NO_SCHEMA)
