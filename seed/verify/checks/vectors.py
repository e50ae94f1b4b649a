"""The check vectors: every row has a vector, and the vectors could be embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.common.text import counted
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import sample_percentage

from ..context import Context
from ..model import Check, Fault, Outcome, failed_with, not_declared, passed
from ..sampling import scan_or_sample

# Bounds of the root mean square of a vector's elements. Elements read in the wrong byte order or width are spread
# over the whole range of the type: of float4 up to 1e38, of float16 up to 65504.
_SMALLEST = 1e-7
_LARGEST = {"vector": 1e10, "sparsevec": 1e10, "halfvec": 4096.0}
_MANY = 10  # fewer rows may well have equal vectors
_COPIES = 0.1  # the share of the rows that may have one vector
_FEW_BITS = 32  # so many bits, or more, are seldom equal by chance

# Vectors are compared by the digest of their bytes, so that each is read once.
# OFFSET 0 keeps the planner from computing the size once for each use.
_SCAN = """
WITH digests AS (
  SELECT pg_catalog.sha256({send}(vector)) AS digest
  FROM (SELECT {column} AS vector FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {column} IS NOT NULL
        ORDER BY random() LIMIT {sampled}) AS picked)
SELECT count(*) AS rows,
       count(*) FILTER (WHERE vector IS NULL) AS missing,
       count(*) FILTER (WHERE size = 0) AS zero,
       count(*) FILTER (WHERE size <> 0 AND NOT size BETWEEN {smallest} AND {largest}) AS odd,
       (SELECT count(*) FROM digests) AS sampled,
       coalesce((SELECT count(*) FROM digests GROUP BY digest ORDER BY 1 DESC LIMIT 1), 0) AS copies
FROM (SELECT {column} AS vector, {size} AS size FROM {table} {sample} OFFSET 0) AS scanned
"""
_BLOCKS = 1000  # of a sample
_SAMPLED = 5000  # rows whose vectors are compared


class _Counts(NamedTuple):
    rows: int
    missing: int
    zero: int
    odd: int
    sampled: int
    copies: int  # of the most frequent vector in the sampled ones


def run(context: Context) -> Outcome:
    """Count the faulty vectors in one scan; if that takes too long, in a sample of the blocks."""
    column = context.vector_column
    if column is None:
        return not_declared("a vector column")
    context.require_all_rows(context.declared.vector)
    expected = "a vector in every row" + (", none zero" if column.metric == "cosine" else "")
    counts, _, note = scan_or_sample(context, _BLOCKS, lambda sample: _scan(context, column, sample))
    faults = list(_faults(counts, column, note))
    if not faults:
        return passed(f"{counted(counts.rows, 'vector')}{note}", expected)
    # With such vectors a low recall would say nothing of the index: no search returns a distance that is no number.
    return failed_with(expected, faults, blocks=frozenset({"recall"}) if counts.odd else frozenset())


def _scan(context: Context, column: VectorColumn, sample: sql.Composable) -> _Counts:
    scale = (context.catalog_column.modifier if context.catalog_column and column.type != "sparsevec" else 1) ** 0.5
    statement = sql.SQL(_SCAN).format(
        smallest=sql.Literal(_SMALLEST * scale),
        largest=sql.Literal(_LARGEST.get(column.type, float("inf")) * scale),
        column=sql.Identifier(column.name),
        table=column.relation,
        size=column.size,
        sample=sample,
        send=sql.Identifier("pg_catalog" if column.type == "bit" else column.extension, f"{column.type}_send"),
        percent=sql.Literal(sample_percentage(context.size_in_bytes)),
        sampled=sql.Literal(_SAMPLED),
    )
    row = context.connection.execute(statement).fetchone()
    assert row is not None
    return _Counts(*row)


def _faults(counts: _Counts, column: VectorColumn, note: str) -> Iterator[Fault]:
    def find(condition: sql.Composable) -> str:
        query = sql.SQL("SELECT * FROM {} WHERE {};").format(column.relation, condition).as_string()
        return f"-- Embed these rows again, or delete them. To find them:\n{query}"

    name = sql.Identifier(column.name)
    if counts.missing:
        yield Fault(
            f"{counts.missing:,} of {counts.rows:,} rows without a vector{note}",
            find(sql.SQL("{} IS NULL").format(name)),
        )
    if counts.zero and column.metric == "cosine":
        yield Fault(
            f"{counts.zero:,} of {counts.rows:,} rows with a zero vector{note}",
            find(sql.SQL("{} = 0").format(column.size)),
        )
    if counts.odd:
        order = sql.SQL("SELECT {} FROM {} ORDER BY 1 DESC LIMIT 20;").format(column.size, column.relation)
        yield Fault(
            f"{counts.odd:,} of {counts.rows:,} rows with elements that no embedding has (a wrong byte order?){note}",
            f"-- Load these rows again from the right bytes. To find the largest:\n{order.as_string()}",
        )
    few_bits = column.type == "bit" and column.dimensions < _FEW_BITS
    allowed = counts.sampled - 1 if few_bits else _COPIES * counts.sampled
    if counts.copies >= _MANY and counts.copies > allowed:
        yield _copies(column, f"one vector in {counts.copies:,} of {counts.sampled:,} rows{note}")


def _copies(column: VectorColumn, message: str) -> Fault:
    group = sql.SQL("SELECT {0}, count(*) FROM {1} GROUP BY {0} ORDER BY 2 DESC LIMIT 1;")
    query = group.format(sql.Identifier(column.name), column.relation).as_string()
    return Fault(message, f"-- Embed the rows of this vector again, and load the new vectors. To find it:\n{query}")


CHECK = Check(
    "vectors",
    "vectors are missing, zero with the cosine metric, one of them in more than a tenth of the rows, or out of range "
    "(as after a wrong byte order)",
    run,
    after=("extension", "table", "column"),
)
