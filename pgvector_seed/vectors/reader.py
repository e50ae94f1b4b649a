"""Querying with the settings and privileges of a reader, from the session of another role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line

# The library must be loaded for the server to validate pgvector's settings.
_LOAD = "SELECT CAST('[1]' AS {type})"
# The settings that the server applies at login; of several for one name, the most specific.
_SETTINGS = """
SELECT DISTINCT ON (name) name, pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1)
FROM pg_catalog.pg_db_role_setting s
CROSS JOIN pg_catalog.unnest(s.setconfig) AS entry
CROSS JOIN pg_catalog.split_part(entry, '=', 1) AS name
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE (s.setrole = 0 OR r.rolname = %s) AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())
ORDER BY name, s.setrole = 0, s.setdatabase = 0
"""
# The server's default: a value that only this session's role or client set does not count.
_DEFAULT_PATH = """
SELECT CASE WHEN source IN ('user', 'database user', 'client') THEN boot_val ELSE setting END
FROM pg_catalog.pg_settings WHERE name = 'search_path'
"""
_SERVER_DEFAULT = """
SELECT CASE WHEN source IN ('configuration file', 'command line', 'default')
            THEN reset_val ELSE boot_val END
FROM pg_catalog.pg_settings WHERE name = %s
"""
_IN_PATH = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')
# The settings of this session from its own role, its client or, behind a pooler, an earlier client.
_OWN = """
SELECT name FROM pg_catalog.pg_settings
WHERE source IN ('user', 'database user', 'client', 'session', 'interactive', 'command line')
"""
# The settings that may change a plan or a result. _relevant adds those with a dot, of extensions and applications.
_RELEVANT = """
SELECT name FROM pg_catalog.pg_settings
WHERE (category LIKE 'Query Tuning%%' OR name IN ('work_mem', 'hash_mem_multiplier', 'max_parallel_workers_per_gather'))
  AND name = ANY (%s)
"""
_IS_MEMBER = """
SELECT session_user = %(role)s OR pg_catalog.pg_has_role(session_user, %(role)s::pg_catalog.name, 'SET'),
       session_user = %(role)s
"""


class CannotImpersonateError(Exception):
    """This session cannot get the reader's results; the message says why."""


class ReaderRefusedError(Exception):
    """The server denies the reader a privilege; the message is the server's."""


@dataclass(frozen=True)
class Reader:
    """A role that reads. If ``name`` is None, it is the session's own role with the session's settings."""

    name: str | None

    def settings(self, connection: Connection) -> dict[str, str]:
        """Return the settings of ALTER ROLE and ALTER DATABASE for this role's sessions in this database."""
        return dict(connection.execute(_SETTINGS, (self.name,)).fetchall())

    def setting(self, connection: Connection, name: str) -> str:
        """Return the value that a setting has in this role's new sessions, as it was written. ``name`` is not None."""
        value = self.settings(connection).get(name)
        if value is None:
            row = connection.execute(_SERVER_DEFAULT, (name,)).fetchone()
            assert row is not None
            value = row[0]
        return str(value)

    def search_path(self, connection: Connection) -> list[str]:
        """Return the schemas of this role's default search_path, including missing ones."""
        path = self.settings(connection).get("search_path") if self.name else None
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path TO DEFAULT")
            if path is None:
                row = connection.execute(_DEFAULT_PATH if self.name else "SHOW search_path").fetchone()
                path = row[0] if row else ""
        names = [quoted.replace('""', '"') or plain.lower() for quoted, plain in _IN_PATH.findall(path)]
        user = self.name or connection.info.user
        return [user if name == "$user" else name for name in names]

    @contextmanager
    def impersonate(self, connection: Connection, extension: str, *, row_security: bool) -> Iterator[None]:
        """Take on the reader's settings until the transaction ends, and its privileges if this login is a member of it.

        ``extension`` is pgvector's schema. ``row_security`` is True if the table has row-level security enabled.

        Raises CannotImpersonateError if the session's results could differ from the reader's, and ReaderRefusedError
        if the reader lacks a privilege for a query in the block.
        """
        load_library(connection, extension)
        if self.name is not None:
            self._take_settings(connection)
        is_reader = self.name is None or self._become(connection, row_security=row_security)
        try:
            yield
        except errors.InsufficientPrivilege as error:
            if is_reader and self.name is not None:
                raise ReaderRefusedError(f"the server refuses {self.name}: {one_line(error)}") from error
            raise
        except psycopg.Error as error:
            if row_security and not connection.closed:
                raise CannotImpersonateError(
                    f"the policies need settings of the application: {one_line(error)}"
                ) from error
            raise

    def _become(self, connection: Connection, *, row_security: bool) -> bool:
        """Take on the reader's role. Returns False if this login is not a member of it."""
        assert self.name is not None
        is_member, is_reader = connection.execute(_IS_MEMBER, {"role": self.name}).fetchone() or (False, False)
        if row_security and not is_reader:
            # A policy's function can RESET ROLE, so it must not run in the session of a role with more privileges.
            raise CannotImpersonateError(f"row security shows each role other rows: connect as {self.name}")
        if is_member:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.name)))
        return bool(is_member)

    def _take_settings(self, connection: Connection) -> None:
        settings = self.settings(connection)
        relevant = _relevant(connection, list(settings))
        own = _relevant(connection, [name for (name,) in connection.execute(_OWN)]) - relevant
        if own:
            raise CannotImpersonateError(
                f"this session has settings that {self.name} lacks ({', '.join(sorted(own))}): connect as {self.name}"
            )
        for name in sorted(relevant):
            try:
                with connection.transaction():
                    connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, settings[name]))
            except psycopg.Error as error:
                raise CannotImpersonateError(
                    f"{self.name} has a setting of {name} that this session cannot set: connect as {self.name}"
                ) from error


def load_library(connection: Connection, schema: str) -> None:
    """Load pgvector's library into this session. ``schema`` is the extension's."""
    connection.execute(sql.SQL(_LOAD).format(type=sql.Identifier(schema, "vector")))


def _relevant(connection: Connection, names: list[str]) -> set[str]:
    relevant = {name for (name,) in connection.execute(_RELEVANT, (names,))}
    return relevant | {name for name in names if "." in name}
