"""Asking the server: the statements of a search, in one transaction and one pipeline.

A piece of work is a generator: it yields a ``Batch``, gets its rows, and returns an answer. ``run`` and ``run_async``
share all but the driver's calls.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor, RawCursor, errors, pq
from psycopg.rows import tuple_row

from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.postgres.errors import one_line, translated
from pgvector_seed.postgres.interrupt import raise_if_stopped

Rows = list[tuple[Any, ...]]
T = TypeVar("T")

_BAD_INPUT = ("22", "42")  # classes of SQLSTATE: data exceptions, and syntax errors or unknown names
_BAD_RIGHTS = "42501"
_READ_ONLY = "25006"
# A prepared statement is missing on the server, or gives other columns now. In pipeline mode psycopg keeps it.
_OUTDATED = (errors.InvalidSqlStatementName, errors.FeatureNotSupported)
_FORGET = "DEALLOCATE ALL"


@dataclass(frozen=True)
class Batch:
    """A statement with its parameters, after the statement that gives the transaction its settings.

    The latter returns ``path``, unless the search_path has changed since the statement was made. If the batch
    ``may_time_out``, its rows are None after the statement_timeout.
    """

    settings: bytes
    statement: bytes
    parameters: tuple[Any, ...]
    path: bytes
    may_time_out: bool = False


class PathError(WrongResultError):
    """The search_path has changed: the table's name may stand for another table."""


Work = Generator[Batch, "Rows | None", T]


def run(connection: psycopg.Connection[Any], work: Work[T]) -> T:
    """Perform the work on a connection. Raises InputError for bad parameters, and as ``translated``."""
    with searching():
        try:
            batch = next(work)
            while True:
                batch = work.send(_perform(connection, batch))
        except StopIteration as end:
            answer: T = end.value
            return answer


async def run_async(connection: AsyncConnection[Any], work: Work[T]) -> T:
    """Perform the work on an asynchronous connection. Raises as ``run``."""
    with searching():
        try:
            batch = next(work)
            while True:
                batch = work.send(await _perform_async(connection, batch))
        except StopIteration as end:
            answer: T = end.value
            return answer


def _perform(connection: psycopg.Connection[Any], batch: Batch) -> Rows | None:
    settings, cursor = RawCursor(connection), RawCursor(connection, row_factory=tuple_row)
    try:
        with _timing_out(batch), _on_path(settings, batch):
            with (
                connection.pipeline(),
                nullcontext()
                if _is_bare(connection)
                else connection.transaction(force_rollback=_is_inside(connection)),
            ):
                settings.execute(batch.settings)
                cursor.execute(_encoded(batch.statement, connection), batch.parameters)
            return cursor.fetchall()
    except _OUTDATED:
        if _is_bare(connection):
            connection.execute(_FORGET)
        raise
    return None


async def _perform_async(connection: AsyncConnection[Any], batch: Batch) -> Rows | None:
    settings, cursor = AsyncRawCursor(connection), AsyncRawCursor(connection, row_factory=tuple_row)
    try:
        with _timing_out(batch), _on_path(settings, batch):
            async with (
                connection.pipeline(),
                nullcontext()
                if _is_bare(connection)
                else connection.transaction(force_rollback=_is_inside(connection)),
            ):
                await settings.execute(batch.settings)
                await cursor.execute(_encoded(batch.statement, connection), batch.parameters)
            return await cursor.fetchall()
    except _OUTDATED:
        if _is_bare(connection):
            await connection.execute(_FORGET)
        raise
    return None


def _is_bare(connection: psycopg.BaseConnection[Any]) -> bool:
    """Return True if the pipeline is a transaction by itself: outside of another one, in autocommit mode."""
    return connection.autocommit and connection.info.transaction_status == pq.TransactionStatus.IDLE


def _is_inside(connection: psycopg.BaseConnection[Any]) -> bool:
    """Return True in a transaction of the caller: only a rollback to a savepoint ends the settings there."""
    return connection.info.transaction_status != pq.TransactionStatus.IDLE


def _encoded(statement: bytes, connection: psycopg.BaseConnection[Any]) -> bytes:
    """Return a statement, which is UTF-8, in the encoding of the connection."""
    encoding = connection.info.encoding
    return statement if encoding == "utf-8" else statement.decode().encode(encoding)


@contextmanager
def _on_path(settings: RawCursor[Any] | AsyncRawCursor[Any], batch: Batch) -> Iterator[None]:
    """Raise PathError after the block, or instead of the server's error, if ``settings`` returned another path."""
    try:
        yield
    except psycopg.Error:
        _require_path(settings, batch)
        raise
    _require_path(settings, batch)


def _require_path(settings: RawCursor[Any] | AsyncRawCursor[Any], batch: Batch) -> None:
    result = settings.pgresult
    if result is not None and result.ntuples and result.get_value(0, 0) != batch.path:
        raise PathError("searching: the search_path has changed", "Run the same command again.")


@contextmanager
def _timing_out(batch: Batch) -> Iterator[None]:
    """End the block without an error after the statement_timeout, if the batch may time out."""
    try:
        yield
    except errors.QueryCanceled:
        raise_if_stopped()
        if not batch.may_time_out:
            raise


@contextmanager
def searching(doing: str = "searching") -> Iterator[None]:
    """Raise the server's errors about parameters and names as InputError, and the others as ``translated``."""
    with translated(doing):
        try:
            yield
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state == _READ_ONLY:
                raise InputError(f"a search is read-only, and its condition would write: {one_line(error)}") from error
            if state.startswith(_BAD_INPUT) and state != _BAD_RIGHTS:
                raise InputError(f"the server refuses the search: {one_line(error)}") from error
            raise
