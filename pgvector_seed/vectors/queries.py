"""Sampling stored vectors, to use them as queries."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn, fetch_all

# Rows that were loaded together share a block and may be similar, so sample about this many blocks.
BLOCKS = 500
BLOCK_BYTES = 8192

_SAMPLE = """
SELECT CAST({column} AS pg_catalog.text)
FROM (SELECT {column} FROM {table} TABLESAMPLE SYSTEM ($1) WHERE {column} IS NOT NULL
      ORDER BY pg_catalog.random() LIMIT $2) AS picked
WHERE {size} OPERATOR(pg_catalog.>) 0
LIMIT $3
"""


def sample_percentage(size: int, blocks: int = BLOCKS) -> float:
    """Return the percentage of a table of ``size`` bytes that is about ``blocks`` blocks, for TABLESAMPLE."""
    return min(100.0, 100.0 * blocks * BLOCK_BYTES / max(size, 1))


def sample_queries(connection: Connection, column: VectorColumn, size: int, count: int) -> list[str]:
    """Return at most ``count`` random stored vectors, as text, to query with. ``size`` is the table's, in bytes.

    NULL and zero vectors are left out: they have no neighbors or no direction.
    """
    statement = sql.SQL(_SAMPLE).format(column=sql.Identifier(column.name), table=column.relation, size=column.size)
    return [text for (text,) in fetch_all(connection, statement, sample_percentage(size), 2 * count, count)]
