"""Running the statements of a file. An error names the file, the line and the server's reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Cursor

from pgvector_seed.common.errors import MigrationError
from pgvector_seed.common.remedies import settings
from pgvector_seed.migrate.index_settings import vector_index_settings
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.script import MARK
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line

if TYPE_CHECKING:
    from pgvector_seed.postgres.watch import Watch

Remedies = Mapping[str, str]  # SQLSTATE -> remedy; "" -> the remedy for all others; {id} is the migration's id

PIPELINED = 1000  # statements: each holds its result in memory until its batch is done

# A file may have thousands of these, which seldom cause messages. Statement.words would scan each as a whole.
_CHANGES_ROWS = re.compile(r"(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
ALLOW_MORE_TIME = (
    "Run the same command again when the database is less busy, or raise the limits: --lock-timeout, "
    f"--statement-timeout (Pulumi: {settings('lockTimeout', 'statementTimeout')})."
)
_REMEDIES = {
    **REMEDIES,
    "42P06": "Drop that schema if it is empty, or write CREATE SCHEMA IF NOT EXISTS.",
    **dict.fromkeys(("55P03", "57014"), ALLOW_MORE_TIME),
    "25001": f"If it is the only statement of its file, begin the file with the line: {MARK}",
}


def execute_all(
    connection: Connection, file: str, statements: Sequence[Statement], remedies: Remedies, watch: Watch
) -> None:
    """Run the statements of a file in order, those that change rows in pipelines.

    Raises MigrationError with the line of the statement that failed, and a remedy for its SQLSTATE.
    """
    for batch in _batches(statements):
        sent: list[Cursor[Any]] = []
        try:
            with (
                vector_index_settings(connection, batch, _place(file, batch), watch.report),
                watch.running(_place(file, batch)),
                connection.pipeline(),
            ):
                for statement in batch:
                    sent.append(connection.execute(statement.text.encode(), prepare=False))  # noqa: PERF401  # an error must leave those that were sent
        except psycopg.Error as error:
            answered = sum(cursor.statusmessage is not None for cursor in sent)
            failed = batch[min(answered, len(batch) - 1)]
            raise _refused(connection, error, file, failed, remedies) from error


def _batches(statements: Iterable[Statement]) -> Iterator[list[Statement]]:
    """Yield the statements in batches of at most PIPELINED.

    Consecutive statements share a batch if they change rows or are on one line. The server does not say to which
    statement of a pipeline a message belongs, and the driver reads several results at once, so a message can only be
    reported with its batch.
    """
    batch: list[Statement] = []
    for statement in statements:
        joins = batch and (batch[-1].line == statement.line or (_changes_rows(batch[-1]) and _changes_rows(statement)))
        if batch and not (joins and len(batch) < PIPELINED):
            yield batch
            batch = []
        batch.append(statement)
    yield batch


def _changes_rows(statement: Statement) -> bool:
    return bool(_CHANGES_ROWS.match(statement.text))


def _place(file: str, batch: Sequence[Statement]) -> str:
    first, last = batch[0].line, batch[-1].line
    return f"{file}, line {first}" if first == last else f"{file}, lines {first} to {last}"


def execute_alone(
    connection: Connection, file: str, statement: Statement, remedies: Remedies, watch: Watch | None = None
) -> None:
    """Run a statement without a pipeline, as one that cannot run in a transaction needs.

    Raises MigrationError as ``execute_all`` does.
    """
    place = _place(file, [statement])
    try:
        with ExitStack() as stack:
            if watch:
                stack.enter_context(vector_index_settings(connection, [statement], place, watch.report))
                stack.enter_context(watch.running(place))
            connection.execute(statement.text.encode(), prepare=False)
    except psycopg.Error as error:
        raise _refused(connection, error, file, statement, remedies) from error


def _refused(
    connection: Connection, error: psycopg.Error, file: str, statement: Statement, remedies: Remedies
) -> MigrationError | psycopg.Error:
    """Return the MigrationError of a statement, or ``error`` itself if the connection was lost."""
    if error.sqlstate is None or connection.broken or is_connection_lost(error):
        return error
    remedy = {**_REMEDIES, **remedies}.get(error.sqlstate, remedies[""]).format(id=file.split(".", 1)[0])
    return MigrationError(f"{file}, line {_line(statement, error)}: {one_line(error)}", remedy)


def _line(statement: Statement, error: psycopg.Error) -> int:
    """Return the line at the server's error position, or else the statement's first line."""
    position = int(error.diag.statement_position or 1)
    return statement.line + statement.text.count("\n", 0, position - 1)
