"""Exact neighbors by numpy: it chooses the rows of which the server computes the distances."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import RawCursor, sql

from pgvector_seed.data.all_vectors import UnequalError, as_array, stored_vectors
from pgvector_seed.data.bounds import OutOfRangeError
from pgvector_seed.data.candidates import Candidates, Row, rows_at_once
from pgvector_seed.data.query_vector import QueryVector
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.vectors.column import VectorColumn

_TID_SCANS = "SELECT pg_catalog.set_config('enable_tidscan', 'on', true), pg_catalog.set_config('jit', 'off', true)"
# In partitions, several rows have one ctid.
_DISTANCES = """
SELECT tableoid, ctid, {column} OPERATOR({operator}) CAST($1 AS {type})
FROM {table} WHERE ctid OPERATOR(pg_catalog.=) ANY (CAST($2 AS pg_catalog.tid[]))
"""
_AT_ONCE = 100  # statements in a pipeline


def computed_distances(
    connection: Connection, column: VectorColumn, queries: Sequence[QueryVector], k: int, report: Progress
) -> list[list[float] | None] | None:
    """Return the distances of the ``k`` nearest rows of each query; None for a query that rounding leaves uncertain.

    Returns None instead of the list if numpy cannot bound these vectors. The server computes the distances of 2 x ``k``
    candidates of each query. The search has no condition.
    """
    array = as_array([query.data for query in queries], column.type)
    candidates = Candidates(str(column.metric), array, 2 * k)
    try:
        _read(connection, column, candidates, report)
    except (UnequalError, OutOfRangeError):
        return None
    distances = _by_server(connection, column, queries, list(candidates.rows_of()))
    return [
        nearest[:k] if nearest is not None and (len(nearest) < k or nearest[k - 1] <= bound) else None
        for nearest, bound in zip(distances, candidates.bounds_of_others.tolist(), strict=True)
    ]


def _read(connection: Connection, column: VectorColumn, candidates: Candidates, report: Progress) -> None:
    """Read the table. An error leaves the transaction as it was."""
    count, dimensions = candidates.queries.shape
    rows = 0
    with connection.transaction():
        for stored in stored_vectors(connection, column, rows_at_once(count, dimensions)):
            candidates.add(stored)
            rows += len(stored.vectors)
            report(f"{rows:,} rows read")


def _by_server(
    connection: Connection, column: VectorColumn, queries: Sequence[QueryVector], rows: Sequence[list[Row]]
) -> list[list[float] | None]:
    """Return the sorted distances of the rows of each query; None if one is missing, which cannot be in a snapshot."""
    statement = sql.SQL(_DISTANCES).format(
        column=sql.Identifier(column.name), operator=column.operator, type=column.type_name, table=column.relation
    )
    text = statement.as_bytes()
    connection.execute(_TID_SCANS)
    distances: list[list[float] | None] = []
    for start in range(0, len(queries), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        cursors = []
        with connection.pipeline():
            for query, wanted in zip(queries[part], rows[part], strict=True):
                ctids = "{" + ",".join(f'"({block},{place})"' for _, block, place in wanted) + "}"
                cursors.append(RawCursor(connection).execute(text, (query, ctids), prepare=False))
        distances += [_of(cursor.fetchall(), wanted) for cursor, wanted in zip(cursors, rows[part], strict=True)]
    return distances


def _of(answer: Sequence[tuple[int, str, float]], wanted: Sequence[Row]) -> list[float] | None:
    keys = {(table, f"({block},{place})") for table, block, place in wanted}
    distances = sorted(distance for table, ctid, distance in answer if (table, ctid) in keys)
    return distances if len(distances) == len(keys) else None
