"""Queries to try a search with: vectors that are stored."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn, ask

# Rows that were loaded together lie in the same block and look alike: take this many blocks, where there are as many.
BLOCKS = 500
BLOCK_BYTES = 8192

_SAMPLE = """
SELECT CAST({column} AS pg_catalog.text)
FROM (SELECT {column} FROM {table} TABLESAMPLE SYSTEM ($1) WHERE {column} IS NOT NULL
      ORDER BY pg_catalog.random() LIMIT $2) AS picked
WHERE {size} > 0
LIMIT $3
"""


def percentage(size: int, blocks: int = BLOCKS) -> float:
    """Which part of a table of ``size`` bytes, in per cent, is about ``blocks`` blocks."""
    return min(100.0, 100.0 * blocks * BLOCK_BYTES / max(size, 1))


def stored_vectors(connection: Connection, column: VectorColumn, size: int, count: int) -> list[str]:
    """At most ``count`` vectors of a table of ``size`` bytes, as text, picked at random.

    NULL and zero vectors are left out: they have no neighbours, or no direction.
    """
    statement = sql.SQL(_SAMPLE).format(column=sql.Identifier(column.name), table=column.relation, size=column.size)
    return [text for (text,) in ask(connection, statement, percentage(size), 2 * count, count)]
