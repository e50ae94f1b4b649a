"""vectors: every row has one, and they are what a model could have made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from search.question import VectorColumn
from search.sample import percentage
from seed.verify.check import Check
from seed.verify.look import Look, OutOfTimeError
from seed.verify.outcome import Outcome, failed, not_declared, passed

# The root of the mean square of a vector's numbers. Read in the wrong byte order, or as numbers of another width,
# they are spread over the type's whole range: a float4 up to 1e38, a float16 up to 65504.
_SMALLEST = 1e-7
_LARGEST = {"vector": 1e10, "sparsevec": 1e10, "halfvec": 4096.0}
_MANY = 10  # so few may well be the same

# In one scan. OFFSET 0 keeps the size from being computed once for every use.
_SCAN = """
SELECT pg_catalog.count(*) AS rows,
       pg_catalog.count(*) FILTER (WHERE vector IS NULL) AS missing,
       pg_catalog.count(*) FILTER (WHERE size = 0) AS zero,
       pg_catalog.count(*) FILTER (WHERE size <> 0 AND NOT size BETWEEN {smallest} AND {largest}) AS odd,
       pg_catalog.bool_and(vector {equal} (SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1)) AS same
FROM (SELECT {column} AS vector, {size} AS size FROM {table} {sample} OFFSET 0) AS scanned
"""
_PART_OF_TIME = 0.25
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
    counts, words = _counts(look, column)
    faults = list(_faults(counts, column))
    if not faults:
        return passed(f"{counts.rows:,} vectors{words}", expected)
    found = "; ".join(what for what, _ in faults)
    # Distances that are not numbers are found by no search, and say nothing of the index.
    groundless = frozenset({"recall"}) if counts.odd else frozenset[str]()
    remedy = "\n".join(how for _, how in faults)
    return failed(expected, f"of {counts.rows:,} rows{words}: {found}", remedy, groundless)


def _counts(look: Look, column: VectorColumn) -> tuple[_Counts, str]:
    exact = look.within(_PART_OF_TIME, lambda: _scan(look, column, sql.SQL("")))
    if exact is not None:
        return exact, ""
    part = percentage(look.bytes, _BLOCKS)
    sample = sql.SQL("TABLESAMPLE SYSTEM ({})").format(part)
    sampled = look.within(_PART_OF_TIME, lambda: _scan(look, column, sample))
    if sampled is None:
        raise OutOfTimeError("not even a sample could be scanned in the time that was left")
    return sampled, f", a sample of {part:.3g} % of the blocks"


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


def _faults(counts: _Counts, column: VectorColumn) -> Iterator[tuple[str, str]]:
    def find(condition: sql.Composable) -> str:
        return sql.SQL("SELECT * FROM {} WHERE {};").format(column.relation, condition).as_string()

    name = sql.Identifier(column.name)
    if counts.missing:
        yield f"{counts.missing:,} without a vector", find(sql.SQL("{} IS NULL").format(name))
    if counts.zero and column.metric == "cosine":
        yield f"{counts.zero:,} with a zero vector", find(sql.SQL("{} = 0").format(column.size))
    if counts.odd:
        order = sql.SQL("SELECT {} FROM {} ORDER BY 1 DESC LIMIT 20;").format(column.size, column.relation)
        yield f"{counts.odd:,} with numbers that no embedding has (a wrong byte order?)", order.as_string()
    if counts.same and counts.rows - counts.missing >= _MANY:
        yield "all vectors are the same", "Make the embeddings anew, and load them again."


CHECK = Check(
    "vectors",
    "they are missing, zero under cosine distance, all the same, or no embeddings",
    judge,
    after=("extension", "table", "column"),
)
