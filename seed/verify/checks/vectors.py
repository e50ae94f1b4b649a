"""vectors: every row has one, and they are what a model could have made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.vectors.column import VectorColumn

from ..context import Look
from ..model import Check, Fault, Outcome, failed_by, not_declared, passed
from ..sampling import whole_or_sampled

# The root of the mean square of a vector's numbers. Read in the wrong byte order, or as numbers of another width,
# they are spread over the type's whole range: a float4 up to 1e38, a float16 up to 65504.
_SMALLEST = 1e-7
_LARGEST = {"vector": 1e10, "sparsevec": 1e10, "halfvec": 4096.0}
_MANY = 10  # so few may well be the same

# In one scan. OFFSET 0 keeps the size from being computed once for every use.
_SCAN = """
SELECT count(*) AS rows,
       count(*) FILTER (WHERE vector IS NULL) AS missing,
       count(*) FILTER (WHERE size = 0) AS zero,
       count(*) FILTER (WHERE size <> 0 AND NOT size BETWEEN {smallest} AND {largest}) AS odd,
       bool_and(vector {equal} (SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1)) AS same
FROM (SELECT {column} AS vector, {size} AS size FROM {table} {sample} OFFSET 0) AS scanned
"""
_BLOCKS = 1000


class _Counts(NamedTuple):
    rows: int
    missing: int
    zero: int
    odd: int
    same: bool | None


def judge(look: Look) -> Outcome:
    """Count what is wrong in one scan; where that takes too long, in a sample of the blocks."""
    column = look.searched
    if column is None:
        return not_declared("a vector column")
    look.must_see_all(look.table.vector)
    expected = "a vector in every row" + (", none zero" if column.metric == "cosine" else "")
    counts, _, words = whole_or_sampled(look, _BLOCKS, lambda sample: _scan(look, column, sample))
    faults = list(_faults(counts, column, words))
    if not faults:
        return passed(f"{counts.rows:,} vectors{words}", expected)
    # Distances that are not numbers are found by no search, and say nothing of the index.
    return failed_by(expected, faults, blocks=frozenset({"recall"}) if counts.odd else frozenset())


def _scan(look: Look, column: VectorColumn, sample: sql.Composable) -> _Counts:
    equal = sql.SQL("OPERATOR({}.=)").format(sql.Identifier("pg_catalog" if column.type == "bit" else column.extension))
    scale = (look.vector.modifier if look.vector and column.type != "sparsevec" else 1) ** 0.5
    statement = sql.SQL(_SCAN).format(
        smallest=sql.Literal(_SMALLEST * scale),
        largest=sql.Literal(_LARGEST.get(column.type, float("inf")) * scale),
        column=sql.Identifier(column.name),
        table=column.relation,
        size=column.size,
        equal=equal,
        sample=sample,
    )
    row = look.connection.execute(statement).fetchone()
    assert row is not None
    return _Counts(*row)


def _faults(counts: _Counts, column: VectorColumn, words: str) -> Iterator[Fault]:
    def find(condition: sql.Composable) -> str:
        return sql.SQL("SELECT * FROM {} WHERE {};").format(column.relation, condition).as_string()

    name = sql.Identifier(column.name)
    if counts.missing:
        yield Fault(
            f"{counts.missing:,} of {counts.rows:,} rows without a vector{words}",
            find(sql.SQL("{} IS NULL").format(name)),
        )
    if counts.zero and column.metric == "cosine":
        yield Fault(
            f"{counts.zero:,} of {counts.rows:,} rows with a zero vector{words}",
            find(sql.SQL("{} = 0").format(column.size)),
        )
    if counts.odd:
        order = sql.SQL("SELECT {} FROM {} ORDER BY 1 DESC LIMIT 20;").format(column.size, column.relation)
        yield Fault(
            f"{counts.odd:,} of {counts.rows:,} rows with numbers that no embedding has (a wrong byte order?){words}",
            order.as_string(),
        )
    if counts.same and counts.rows - counts.missing >= _MANY:
        yield Fault(
            f"all {counts.rows:,} vectors are the same{words}", "Make the embeddings anew, and load them again."
        )


CHECK = Check(
    "vectors",
    "some are missing, zero under cosine distance, all the same, or no embeddings: numbers as a wrong "
    "byte order leaves them",
    judge,
    after=("extension", "table", "column"),
)
