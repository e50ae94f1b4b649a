"""Exact search without an index, which gives the ground truth of recall."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import ALL_ROWS, Selection, VectorColumn, fetch_all
from pgvector_seed.vectors.scan_settings import PATH

# OFFSET 0 keeps the subquery from being pulled up, so that no index can give the order, whatever the planner's settings
# and cached plans.
_EXACT = """
SELECT distance{aliases}
FROM (SELECT {column} OPERATOR({operator}) CAST({query} AS {type}) AS distance{columns}
      FROM {table} WHERE {column} IS NOT NULL{also} OFFSET 0) AS every_row
WHERE distance OPERATOR(pg_catalog.<>) 'NaN'::pg_catalog.float8
ORDER BY distance
LIMIT {k}
"""
# One core of the server at most, and no JIT compilation, which would take longer than it saves.
_ONE_CORE = b"""
pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), pg_catalog.set_config('jit', 'off', true)
"""
EXACT_SECONDS = 30  # of an exact search for a user, unless the session's own limit is lower
# statement_timeout is in milliseconds, and 0 is no limit.
EXACT_SETTINGS = b"""
SELECT %b, %b,
       pg_catalog.set_config('transaction_read_only', 'on', true),
       pg_catalog.set_config(name, CAST(least(CASE WHEN setting OPERATOR(pg_catalog.<>) '0'
                                              THEN CAST(setting AS pg_catalog.int8) END, %d)
                                        AS pg_catalog.text), true)
FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'statement_timeout'
""" % (PATH.as_bytes(), _ONE_CORE.strip(), EXACT_SECONDS * 1000)


def exact(
    column: VectorColumn, query: sql.Composable, k: sql.Composable, selection: Selection = ALL_ROWS
) -> sql.Composed:
    """Return the query for the ``k`` nearest of all rows, nearest first, without an index.

    Rows with a NULL vector or a NaN distance do not count. Its rows are those of ``VectorColumn.answer``.
    """
    condition = selection.condition
    return sql.SQL(_EXACT).format(
        column=sql.Identifier(column.name),
        columns=selection.named,
        aliases=selection.aliases,
        operator=column.operator,
        query=query,
        type=column.type_name,
        table=column.relation,
        also=sql.SQL("") if condition is None else sql.SQL(" AND {}").format(selection.conjunct(condition)),
        k=k,
    )


def exact_distances(
    connection: Connection,
    column: VectorColumn,
    query: object,
    k: int,
    condition: sql.Composable | None = None,
    values: Sequence[object] = (),
) -> list[float]:
    """Return the distances of the rows of ``exact``; fewer than ``k`` if the table has fewer.

    ``query`` is a vector as a parameter. The ``condition`` has $1, $2 and so on for ``values``.

    Call it in a transaction: it changes settings until its end.
    """
    connection.execute(b"SELECT " + _ONE_CORE)
    vector, limit = (sql.SQL(f"${len(values) + number}") for number in (1, 2))
    statement = exact(column, vector, limit, Selection((), condition))
    return [distance for (distance,) in fetch_all(connection, statement, *values, query, k)]
