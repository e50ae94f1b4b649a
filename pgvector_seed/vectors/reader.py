"""Asking as a reader does: with the settings and the rights of a role, from a session of another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line

# Settings are known to the server only once the library is loaded: before, nonsense would be accepted.
_LOAD = "SELECT CAST('[1]' AS {type})"
# What the server applies at login, the most special first, each setting once.
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
# What every session gets where nothing else is said, unless this one has it from its own role or its client.
_DEFAULT_PATH = """
SELECT CASE WHEN source IN ('user', 'database user', 'client') THEN boot_val ELSE setting END
FROM pg_catalog.pg_settings WHERE name = 'search_path'
"""
_IN_PATH = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')
# What this session has from its own role, from its client or from whoever had it before.
_OWN = """
SELECT name FROM pg_catalog.pg_settings
WHERE source IN ('user', 'database user', 'client', 'session', 'interactive', 'command line')
"""
# Only what may change a plan or an answer; and settings with a dot are of extensions, or of the application's policies.
_RELEVANT = """
SELECT name FROM pg_catalog.pg_settings
WHERE (category LIKE 'Query Tuning%%' OR name IN ('work_mem', 'hash_mem_multiplier', 'max_parallel_workers_per_gather'))
  AND name = ANY (%s)
"""
_MAY_BE = """
SELECT session_user = %(role)s OR pg_catalog.pg_has_role(session_user, %(role)s::pg_catalog.name, 'SET'),
       session_user = %(role)s
"""


class CannotStandInError(Exception):
    """This login cannot see what the reader would see; the message says why."""


class ReaderRefusedError(Exception):
    """The server refuses the reader its query; the message has the server's words."""


@dataclass(frozen=True)
class Reader:
    """A role that reads. ``name`` None stands for the session's own role, with its own settings."""

    name: str | None

    def settings(self, connection: Connection) -> dict[str, str]:
        """What ALTER ROLE and ALTER DATABASE set for this role's sessions in this database."""
        return dict(connection.execute(_SETTINGS, (self.name,)).fetchall())

    def search_path(self, connection: Connection) -> list[str]:
        """The schemas in which a plain query of this role looks for a name, whether they are there or not."""
        path = self.settings(connection).get("search_path") if self.name else None
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path TO DEFAULT")
            if path is None:
                row = connection.execute(_DEFAULT_PATH if self.name else "SHOW search_path").fetchone()
                path = row[0] if row else ""
        names = [quoted.replace('""', '"') or plain.lower() for quoted, plain in _IN_PATH.findall(path)]
        me = self.name or connection.info.user
        return [me if name == "$user" else name for name in names]

    @contextmanager
    def asking(self, connection: Connection, extension: str, *, row_security: bool) -> Iterator[None]:
        """Inside of a transaction: from here to its end, the session has the reader's settings, and where this login
        may become the reader, its rights.

        ``extension`` is pgvector's schema; ``row_security``: whether the table shows each role other rows. Raises
        CannotStandInError where the session would not see what the reader sees, and ReaderRefusedError where the
        server refuses the reader what is asked inside.
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
                raise CannotStandInError(f"the policies need what the application sets: {one_line(error)}") from error
            raise

    def _become(self, connection: Connection, *, row_security: bool) -> bool:
        assert self.name is not None  # who is nobody cannot be become
        may, is_reader = connection.execute(_MAY_BE, {"role": self.name}).fetchone() or (False, False)
        if row_security and not is_reader:
            # A policy's function can go back to the session's own role, so it must not be run for a stronger one.
            raise CannotStandInError(f"row security shows each role other rows: connect as {self.name}")
        if may:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self.name)))
        return bool(may)

    def _take_settings(self, connection: Connection) -> None:
        settings = self.settings(connection)
        relevant = _relevant(connection, list(settings))
        own = _relevant(connection, [name for (name,) in connection.execute(_OWN)]) - relevant
        if own:
            raise CannotStandInError(
                f"this session has settings that {self.name} lacks ({', '.join(sorted(own))}): connect as {self.name}"
            )
        for name in sorted(relevant):
            try:
                with connection.transaction():
                    connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, settings[name]))
            except psycopg.Error as error:
                raise CannotStandInError(
                    f"{self.name} has a setting of {name} that this session cannot take on: connect as {self.name}"
                ) from error


def load_library(connection: Connection, schema: str) -> None:
    """Load pgvector's library into this session. ``schema`` is where the extension is."""
    connection.execute(sql.SQL(_LOAD).format(type=sql.Identifier(schema, "vector")))


def _relevant(connection: Connection, names: list[str]) -> set[str]:
    known = {name for (name,) in connection.execute(_RELEVANT, (names,))}
    return known | {name for name in names if "." in name}
