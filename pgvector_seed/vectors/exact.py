"""Exact search without an index, which gives the ground truth of recall."""

from __future__ import annotations

import math

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn, fetch_all

# OFFSET 0 keeps the subquery from being pulled up, so that no index can give the order, whatever the planner's settings
# and cached plans.
_EXACT = """
SELECT distance
FROM (SELECT {column} OPERATOR({operator}) CAST($1 AS {type}) AS distance
      FROM {table} WHERE {column} IS NOT NULL OFFSET 0) AS every_row
ORDER BY distance
LIMIT $2
"""
# One core of the server at most, and no JIT compilation, which would take longer than it saves.
_BOUNDED = """
SELECT pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), pg_catalog.set_config('jit', 'off', true)
"""


def exact_distances(connection: Connection, column: VectorColumn, query: str, k: int) -> list[float]:
    """Return the distances of the ``k`` nearest neighbors of ``query``, nearest first; fewer if the table has fewer.

    Rows with a NULL vector or a NaN distance do not count. Call it in a transaction: it changes settings until its end.
    """
    connection.execute(_BOUNDED)
    statement = sql.SQL(_EXACT).format(
        column=sql.Identifier(column.name), operator=column.operator, type=column.type_name, table=column.relation
    )
    rows = fetch_all(connection, statement, query, k)
    return [distance for (distance,) in rows if not math.isnan(distance)]
