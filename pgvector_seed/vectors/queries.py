"""Sampling stored vectors, to use them as queries."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import Selection, VectorColumn, fetch_all

# Rows that were loaded together share a block and may be similar, so sample about this many blocks.
BLOCKS = 500
BLOCK_BYTES = 8192

_SAMPLE = """
SELECT CAST({column} AS pg_catalog.text)
FROM (SELECT {column} FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {column} IS NOT NULL{also}
      ORDER BY pg_catalog.random() LIMIT {most}) AS picked
WHERE {size} OPERATOR(pg_catalog.>) 0
LIMIT {count}
"""


def sample_percentage(size: int, blocks: int = BLOCKS) -> float:
    """Return the percentage of a table of ``size`` bytes that is about ``blocks`` blocks, for TABLESAMPLE."""
    return min(100.0, 100.0 * blocks * BLOCK_BYTES / max(size, 1))


def sample_queries(
    connection: Connection,
    column: VectorColumn,
    size: int,
    count: int,
    condition: sql.Composable | None = None,
    values: Sequence[object] = (),
) -> list[str]:
    """Return at most ``count`` random stored vectors, as text, to query with. ``size`` is the table's, in bytes.

    NULL and zero vectors are left out: they have no neighbors or no direction. The ``condition`` has $1, $2 and so on
    for ``values``; as few rows may fulfil it, all are read.
    """
    percent = 100.0 if condition is not None else sample_percentage(size)
    statement = sql.SQL(_SAMPLE).format(
        column=sql.Identifier(column.name),
        table=column.relation,
        size=column.size,
        also=sql.SQL("") if condition is None else sql.SQL(" AND {}").format(Selection.conjunct(condition)),
        percent=sql.Literal(percent),
        most=sql.Literal(2 * count),
        count=sql.Literal(count),
    )
    return [text for (text,) in fetch_all(connection, statement, *values)]
