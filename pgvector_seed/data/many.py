"""Answering many queries: the statement is prepared once, and each batch is one transaction and one pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from psycopg import RawCursor
from psycopg.rows import tuple_row

from pgvector_seed.common.errors import Error
from pgvector_seed.data.answer import Answer, answering_exactly, neighbors, parameters_of
from pgvector_seed.data.asking import Rows, run, searching
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection

BATCH_QUERIES = 100
BATCH_ROWS = 10_000  # of all answers together, which are kept in memory

_PROCESS = "SELECT pg_catalog.pg_backend_pid()"


def answer_many(
    connection: Connection,
    search: Search,
    vectors: Iterable[Any],
    k: int,
    values: Sequence[Any] = (),
    *,
    exact: bool = False,
    fallback: bool = False,
) -> Iterator[Answer]:
    """Yield the answers to the queries ``vectors``, in their order. They are read as the answers are taken.

    ``values`` are those of the condition. ``exact`` is as ``answering_exactly``, ``fallback`` as in ``answering``.

    A bad vector, or an error of the iterable, is raised after the answers to the queries before it. The connection
    must not be in a transaction.
    """
    register(connection)
    size = max(1, min(BATCH_QUERIES, BATCH_ROWS // max(1, k)))
    queries = _Queries(parameters_of(search, vector, k, values) for vector in vectors)
    with _preparing(connection):
        while batch := list(islice(queries, size)):
            if exact:
                yield from (run(connection, answering_exactly(search, parameters)) for parameters in batch)
            else:
                yield from _answers(connection, search, batch, fallback=fallback)
    if queries.error is not None:
        raise queries.error


class _Queries:
    """The parameters of the queries. An error ends them, and is kept in ``error``."""

    def __init__(self, parameters: Iterator[tuple[Any, ...]]) -> None:
        self.error: Error | None = None
        self._parameters = parameters

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        try:
            return next(self._parameters)
        except Error as error:
            self.error = error
            raise StopIteration from error


def _answers(
    connection: Connection, search: Search, batch: Sequence[tuple[Any, ...]], *, fallback: bool
) -> Iterator[Answer]:
    """Yield the answers to a batch of queries."""
    for parameters, rows in zip(batch, _perform(connection, search, batch), strict=True):
        if len(rows) < parameters[-1] and fallback:
            yield run(connection, answering_exactly(search, parameters, rows))
        else:
            yield Answer(neighbors(search, rows))


def _perform(connection: Connection, search: Search, batch: Sequence[tuple[Any, ...]]) -> list[Rows]:
    """Return the rows of each query of a batch, from one transaction."""
    cursor = RawCursor(connection, row_factory=tuple_row)
    with searching(), connection.pipeline(), connection.transaction():
        connection.execute(search.settings.statement)
        cursor.executemany(search.statement, batch, returning=True)
        results = [cursor.fetchall()]
        while cursor.nextset():
            results.append(cursor.fetchall())
    return results


@contextmanager
def _preparing(connection: Connection) -> Iterator[None]:
    """Let the driver prepare the statement of ``executemany``, unless a pooler may share the server's session.

    There, a prepared statement may be missing in the next transaction, or be one of another client. A pooler invents
    the process id that libpq gets.
    """
    before = connection.prepare_threshold
    row = connection.execute(_PROCESS).fetchone()
    if row is not None and row[0] == connection.info.backend_pid:
        connection.prepare_threshold = BATCH_QUERIES
    try:
        yield
    finally:
        connection.prepare_threshold = before
