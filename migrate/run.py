"""Running one statement of a migration, and saying what to do where the server refuses it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql

from migrate.script import MARK
from migrate.statements import Statement
from postgres.connection import Connection
from postgres.errors import MigrationError, one_line

LOCK_TIMEOUT = "10s"  # a statement that waits longer for its lock makes every later query wait behind it

DURATION = re.compile(r"[0-9]+(ms|s|min|h)?")
DURATION_EXAMPLES = "500ms, 5s, 2min, or 0, which is for ever"

MEND_UP = "Mend the file and run the same command again: what came before it is recorded."
MEND_DOWN = "Mend the file, apply once more, which records the new down, and then undo again."
_BASELINE = (
    "It was there before, and the ledger does not say that this migration made it. "
    "To take it over as it is: python -m migrate baseline {id}. Or rename it, or use another schema."
)
_TIMEOUT = (
    "Run the same command again when the database is less busy, or allow more time: --lock-timeout, "
    "--statement-timeout (Pulumi: the keys lockTimeout, statementTimeout)."
)
_REMEDIES = {
    **dict.fromkeys(("42P06", "42P07", "42701", "42710", "42723"), _BASELINE),
    **dict.fromkeys(("55P03", "57014"), _TIMEOUT),
    "25001": f"If it is the only statement of its file, put a first line there: {MARK}",
    "42501": "Use a role that has this right, or have it granted.",
    "40P01": "Run the same command again.",
    "53100": "Free some room on the server's disk, and run the same command again.",
}

_CLEAN = sql.SQL("""
RESET ROLE;
RESET ALL;
SET standard_conforming_strings TO on;
SET search_path TO {schemas};
SELECT pg_catalog.set_config('statement_timeout', {statement}, false) WHERE {statement} <> '';
SELECT pg_catalog.set_config('lock_timeout', coalesce(nullif({lock}, ''), {default}), false)
WHERE {lock} <> '' OR pg_catalog.current_setting('lock_timeout') = '0'
""")
_NO_TIMEOUTS = "SET lock_timeout TO 0; SET statement_timeout TO 0"


@dataclass(frozen=True)
class Limits:
    """How long a statement may wait for a lock, and may run: PostgreSQL's ``5s``, ``1min``; ``0`` is for ever.

    Where one is "", the session's own holds, such as PGOPTIONS or ALTER ROLE gave it; where that is
    nothing either, a lock is waited for LOCK_TIMEOUT.
    """

    lock_timeout: str = ""
    statement_timeout: str = ""


SESSIONS_OWN = Limits()


def clean_session(connection: Connection, limits: Limits, *schemas: str) -> None:
    """Give the next migration a session in which the one before left no setting and no role."""
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    literals = {
        "lock": sql.Literal(limits.lock_timeout),
        "statement": sql.Literal(limits.statement_timeout),
        "default": sql.Literal(LOCK_TIMEOUT),
    }
    connection.execute(_CLEAN.format(schemas=names, **literals), prepare=False)


def wait_for_ever(connection: Connection) -> None:
    """Take the limits away, for what is to wait its turn."""
    connection.execute(_NO_TIMEOUTS, prepare=False)


def execute(connection: Connection, file: str, statement: Statement, remedy: str) -> None:
    """Run a statement of a file.

    Raises MigrationError, with the line, where the server refuses it; ``remedy`` is for what has none of its own.
    """
    try:
        connection.execute(statement.text.encode(), prepare=False)
    except psycopg.Error as error:
        if error.sqlstate is None or connection.broken:
            raise
        remedy = _REMEDIES.get(error.sqlstate, remedy).format(id=file.split(".")[0])
        raise MigrationError(f"{file}, line {_line(statement, error)}: {one_line(error)}", remedy) from error


def _line(statement: Statement, error: psycopg.Error) -> int:
    """The line that the server points at, or the one on which the statement begins."""
    position = int(error.diag.statement_position or 1)
    return statement.line + statement.text.count("\n", 0, position - 1)
