"""Exact neighbours: what a search without an index answers, the ground truth of recall."""

from __future__ import annotations

import math

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn, ask

# OFFSET 0 keeps the subquery from being merged into the outer one, so no index can give the order, whatever the
# planner's settings and the plans cached for the approximate query.
_EXACT = """
SELECT distance
FROM (SELECT {column} OPERATOR({operator}) CAST($1 AS {type}) AS distance
      FROM {table} WHERE {column} IS NOT NULL OFFSET 0) AS every_row
ORDER BY distance
LIMIT $2
"""
# One core of the server at most; compiling the expression would take longer than it saves.
_BOUNDED = """
SELECT pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), pg_catalog.set_config('jit', 'off', true)
"""


def exact_distances(connection: Connection, column: VectorColumn, query: str, k: int) -> list[float]:
    """The distances of the ``k`` nearest neighbours of ``query``, nearest first; fewer where there are fewer rows.

    Rows without a vector, and those whose distance is not a number, are nobody's neighbours. The settings that it
    changes are put back when the transaction around it ends.
    """
    connection.execute(_BOUNDED)
    statement = sql.SQL(_EXACT).format(
        column=sql.Identifier(column.name), operator=column.operator, type=column.type_name, table=column.relation
    )
    rows = ask(connection, statement, query, k)
    return [distance for (distance,) in rows if not math.isnan(distance)]
