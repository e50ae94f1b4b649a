"""The rows of a table that is indexed: an estimate of their number, and the rows that an index leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.conditions import MOST_ELEMENTS
from pgvector_seed.vectors.index.target import IndexTarget

_ESTIMATE = """
SELECT pages = 0 OR (c.reltuples >= 0 AND c.relpages > 0), c.reltuples / greatest(c.relpages, 1) * pages
FROM pg_class c, LATERAL (SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint) AS size (pages)
WHERE c.oid = %s
"""
_NAME = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s"
_LEFT_OUT = """
SELECT pg_catalog.count(*) FILTER (WHERE {column} IS NULL), pg_catalog.count(*) FILTER (WHERE {is_zero}),
       pg_catalog.max({elements})
FROM {table}
"""
_LENGTHS = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}  # pgvector's functions
_WIDTH = """
SELECT max(avg_width) FROM pg_stats WHERE (schemaname, tablename, attname) = (%s, %s, %s)
"""


@dataclass(frozen=True)
class LeftOut:
    """The numbers of the rows that an index leaves out: without a vector and, for cosine, with a zero vector."""

    null: int
    zero: int

    def __str__(self) -> str:
        parts = [f"{counted(self.null, 'row')} without a vector"] if self.null else []
        parts += [f"{counted(self.zero, 'row')} with a zero vector"] if self.zero else []
        return " and ".join(parts)


def estimate_rows(connection: Connection, tables: Sequence[int]) -> int:
    """Return the estimated number of rows of these tables, oids of leaves. Analyzes each that never was."""
    return round(sum(_estimate(connection, table) for table in tables))


def rows_without_analyze(connection: Connection, table: int) -> int:
    """Return the estimated number of rows of a table, or count them if it was never analyzed."""
    for is_known, rows in query_catalog(connection, _ESTIMATE, (table,)):
        if is_known:
            return round(max(0.0, float(rows)))
        ((schema, name),) = query_catalog(connection, _NAME, (table,))
        count = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        return sum(number for (number,) in connection.execute(count))
    return 0


def _estimate(connection: Connection, table: int) -> float:
    rows = query_catalog(connection, _ESTIMATE, (table,))
    if rows and not rows[0][0]:
        ((schema, name),) = query_catalog(connection, _NAME, (table,))
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, name)))
        rows = query_catalog(connection, _ESTIMATE, (table,))
    return max(0.0, float(rows[0][1])) if rows else 0.0


def count_left_out(connection: Connection, target: IndexTarget) -> LeftOut:
    """Return the rows that the index leaves out, by reading the whole table.

    Raises InputError if a sparsevec has too many elements for hnsw.
    """
    is_zero: sql.Composable = sql.SQL("false")
    elements: sql.Composable = sql.SQL("0")
    column = sql.Identifier(target.definition.column)
    if target.definition.metric == "cosine" and target.type in _LENGTHS:
        length = sql.Identifier(target.extension, _LENGTHS[target.type])
        is_zero = sql.SQL("{}({}) OPERATOR(pg_catalog.=) 0").format(length, target.expression)
    if (target.definition.method, target.type) == ("hnsw", "sparsevec"):
        elements = sql.SQL("pg_catalog.regexp_count({}::pg_catalog.text, ':')").format(column)
    query = sql.SQL(_LEFT_OUT).format(column=column, is_zero=is_zero, elements=elements, table=target.relation)
    row = connection.execute(query).fetchone()
    assert row is not None
    null, zero, most = row
    if most and most > MOST_ELEMENTS:
        raise InputError(
            f"the index {target.shown}: hnsw indexes a sparsevec of at most {MOST_ELEMENTS:,} elements that are not "
            f"zero, and a row has {most:,}",
            "Keep the largest elements of each vector, or use an embedding with fewer of them.",
        )
    return LeftOut(null, zero)


def bytes_of(type_: str, dimensions: int) -> int:
    """Return the size of a vector in bytes; of a sparsevec, the largest that hnsw indexes."""
    if type_ == "sparsevec":
        return 16 + 8 * min(dimensions, MOST_ELEMENTS)
    return 8 + {"halfvec": 2 * dimensions, "bit": (dimensions + 7) // 8}.get(type_, 4 * dimensions)


def vector_bytes(connection: Connection, target: IndexTarget) -> int:
    """Return the size of an indexed value in bytes; of a sparsevec, the average if the table is analyzed."""
    if target.type == "sparsevec":
        definition = target.definition
        names = (definition.schema, definition.table, definition.column)
        ((width,),) = query_catalog(connection, _WIDTH, names)
        if width:
            return int(width)
    return bytes_of(target.type, target.dimensions or 0)
