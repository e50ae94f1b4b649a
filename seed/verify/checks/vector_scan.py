"""The scan of a vector column: the number of rows with each fault, and of the copies of one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.migrate.contract import DeclaredTable
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.extension import is_older
from pgvector_seed.vectors.queries import sample_percentage

from ..context import Context

# Bounds of the root mean square of a vector's elements. Elements read in the wrong byte order or width are spread
# over the whole range of the type: of float4 up to 1e38, of float16 up to 65504.
_SMALLEST = 1e-7
_LARGEST = {"vector": 1e10, "sparsevec": 1e10, "halfvec": 4096.0}
_MOST_DIMENSIONS = 16_000  # of a column that does not declare them
# Models that compute in half precision normalize to about three digits; a halfvec rounds once more.
_TOLERANCE = {"halfvec": 2e-3}
_TOLERANCE_OF_OTHERS = 1e-3
_SAMPLED = 5000  # rows whose vectors are compared
_NORMALIZES_SINCE = "0.7.0"

# Vectors are compared by the digest of their bytes, so that each is read once.
# OFFSET 0 keeps the planner from computing the size once for each use.
_SCAN = """
WITH digests AS (
  SELECT pg_catalog.sha256({send}(vector)) AS digest
  FROM (SELECT {compared} AS vector FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {column} IS NOT NULL
        ORDER BY random() LIMIT {sampled}) AS picked)
SELECT count(*) AS rows,
       count(*) FILTER (WHERE vector IS NULL) AS missing,
       count(*) FILTER (WHERE size = 0) AS zero,
       count(*) FILTER (WHERE size <> 0 AND NOT size BETWEEN {smallest} AND {largest}) AS odd,
       count(*) FILTER (WHERE {unnormalized}) AS unnormalized,
       count(*) FILTER (WHERE stale) AS stale,
       count(*) FILTER (WHERE other) AS other,
       (SELECT count(*) FROM digests) AS sampled,
       coalesce((SELECT count(*) FROM digests GROUP BY digest ORDER BY 1 DESC LIMIT 1), 0) AS copies
FROM (SELECT {column} AS vector, {size} AS size, {stale} AS stale, {other} AS other
      FROM {table} {sample} OFFSET 0) AS scanned
"""


class Counts(NamedTuple):
    """The number of rows with each fault. ``copies`` are those of the most frequent vector in ``sampled`` rows."""

    rows: int
    missing: int
    zero: int
    odd: int
    unnormalized: int
    stale: int
    other: int
    sampled: int
    copies: int


def conditions(declared: DeclaredTable, column: VectorColumn) -> Mapping[str, sql.Composable]:
    """Return the conditions of the rows that the keys ``normalized``, ``fresh`` and ``model`` forbid, by key.

    A row without a vector is not judged.
    """
    forbidden: dict[str, sql.Composable] = {}
    has_vector = sql.SQL("{} IS NOT NULL").format(sql.Identifier(column.name))
    if declared.normalized:
        forbidden["normalized"] = _not_normalized(column, column.size)
    if declared.fresh:
        embedded, updated = map(sql.Identifier, (declared.fresh.embedded, declared.fresh.updated))
        older = "{} AND {updated} IS NOT NULL AND ({embedded} >= {updated}) IS NOT TRUE"
        forbidden["fresh"] = sql.SQL(older).format(has_vector, updated=updated, embedded=embedded)
    if declared.model:
        other = sql.SQL("{} AND CAST({} AS text) IS DISTINCT FROM {}")
        name = sql.Literal(declared.model.name)
        forbidden["model"] = other.format(has_vector, sql.Identifier(declared.model.column), name)
    return forbidden


def compared(context: Context, column: VectorColumn) -> sql.Composable:
    """Return the expression that equal vectors share. With cosine it is their direction, to half precision."""
    name = sql.Identifier(column.name)
    if not _by_direction(context, column):
        return name
    schema = sql.Identifier(column.extension)
    return sql.SQL("CAST({schema}.l2_normalize({name}) AS {schema}.halfvec)").format(schema=schema, name=name)


def _by_direction(context: Context, column: VectorColumn) -> bool:
    """Return True if vectors are compared by their direction. One dimension has only two directions."""
    is_new = context.extension is not None and not is_older(context.extension.version, _NORMALIZES_SINCE)
    return is_new and column.metric == "cosine" and column.type in ("vector", "halfvec") and column.dimensions != 1


def _send(context: Context, column: VectorColumn) -> sql.Composable:
    compared_type = "halfvec" if _by_direction(context, column) else column.type
    return sql.Identifier("pg_catalog" if column.type == "bit" else column.extension, f"{compared_type}_send")


def _not_normalized(column: VectorColumn, size: sql.Composable) -> sql.Composed:
    tolerance = _TOLERANCE.get(column.type, _TOLERANCE_OF_OTHERS)
    return sql.SQL("abs({} - 1) > {}").format(size, tolerance)


def scan(
    context: Context, column: VectorColumn, forbidden: Mapping[str, sql.Composable], sample: sql.Composable
) -> Counts:
    """Return the counts. ``forbidden`` are the ``conditions``, ``sample`` is the TABLESAMPLE clause."""
    fewest = most = 1 if column.type == "sparsevec" else column.dimensions
    if fewest <= 0:
        fewest, most = 1, _MOST_DIMENSIONS
    never = sql.SQL("false")
    statement = sql.SQL(_SCAN).format(
        smallest=_SMALLEST * fewest**0.5,
        largest=sql.Literal(_LARGEST.get(column.type, float("inf")) * most**0.5),
        column=sql.Identifier(column.name),
        table=column.relation,
        size=column.size,
        unnormalized=_not_normalized(column, sql.SQL("size")) if "normalized" in forbidden else never,
        stale=forbidden.get("fresh", never),
        other=forbidden.get("model", never),
        sample=sample,
        compared=compared(context, column),
        send=_send(context, column),
        percent=sample_percentage(context.size_in_bytes),
        sampled=_SAMPLED,
    )
    row = context.connection.execute(statement).fetchone()
    assert row is not None
    return Counts(*row)
