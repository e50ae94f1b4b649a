"""Running one statement of a migration, and saying what to do where the server refuses it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Cursor, sql

from migrate.script import MARK
from migrate.statements import Statement
from postgres.connection import Connection
from postgres.errors import GRANT, READ_ONLY, MigrationError, one_line

LOCK_TIMEOUT = "10s"  # a statement that waits longer for its lock makes every later query wait behind it

logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what follows from an error that we report

PIPELINED = 1000  # statements: each holds its result in memory until its batch is done
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
    "42501": GRANT,
    "25006": READ_ONLY,
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


def execute_all(connection: Connection, file: str, statements: Sequence[Statement], remedy: str) -> None:
    """Run the statements of a file one after the other, in a pipeline: few round trips, and still known by number.

    Raises MigrationError, with the line, where the server refuses one; ``remedy`` is for what has none of its own.
    """
    for start in range(0, len(statements), PIPELINED):
        batch = statements[start : start + PIPELINED]
        sent: list[Cursor[Any]] = []
        try:
            with connection.pipeline():
                sent.extend(connection.execute(statement.text.encode(), prepare=False) for statement in batch)
        except psycopg.Error as error:
            done = sum(cursor.statusmessage is not None for cursor in sent)
            raise _refused(connection, error, file, batch[done], remedy) from error


def execute(connection: Connection, file: str, statement: Statement, remedy: str) -> None:
    """The same for one statement that must be alone, outside of a transaction."""
    try:
        connection.execute(statement.text.encode(), prepare=False)
    except psycopg.Error as error:
        raise _refused(connection, error, file, statement, remedy) from error


def _refused(
    connection: Connection, error: psycopg.Error, file: str, statement: Statement, remedy: str
) -> MigrationError | psycopg.Error:
    """The error in our words; the same where the connection was lost, which is not the statement's fault."""
    if error.sqlstate is None or connection.broken:
        return error
    remedy = _REMEDIES.get(error.sqlstate, remedy).format(id=file.split(".")[0])
    return MigrationError(f"{file}, line {_line(statement, error)}: {one_line(error)}", remedy)


def _line(statement: Statement, error: psycopg.Error) -> int:
    """The line that the server points at, or the one on which the statement begins."""
    position = int(error.diag.statement_position or 1)
    return statement.line + statement.text.count("\n", 0, position - 1)
