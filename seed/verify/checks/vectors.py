"""The check vectors: every row has a vector, and the vectors could be embeddings, of the declared kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from pgvector_seed.common.text import counted
from pgvector_seed.migrate.contract import DeclaredTable
from pgvector_seed.vectors.column import VectorColumn

from ..context import Context
from ..model import Check, Fault, Outcome, failed_with, not_declared, passed
from ..sampling import scan_or_sample
from .declared_columns import usable_keys
from .vector_scan import Counts, compared, conditions, scan

_MANY = 10  # fewer rows may well have equal vectors
_COPIES = 0.1  # the share of the rows that may have one vector
_FEW_BITS = 32  # so many bits, or more, are seldom equal by chance
_BLOCKS = 1000  # of a sample


def run(context: Context) -> Outcome:
    """Count the faulty rows in one scan; if that takes too long, in a sample of the blocks."""
    column, declared = context.vector_column, context.declared
    if column is None:
        return not_declared("a vector column")
    expected = _expected(declared, column)
    declared, faults = usable_keys(context, declared)
    forbidden = conditions(declared, column)
    counts, _, note = scan_or_sample(context, _BLOCKS, lambda sample: scan(context, column, forbidden, sample))
    faults += _faults(context, counts, column, note)
    faults += _forbidden(counts, forbidden, declared, column, note)
    if faults:
        # A low recall would say nothing of the index: no search returns a distance that is not a number, and the graph
        # of an index has no way out of many vectors of one direction.
        is_unfit = counts.odd or _has_copies(counts, column)
        return failed_with(expected, faults, blocks=frozenset({"recall"}) if is_unfit else frozenset())
    vectors = counted(counts.rows - counts.missing, "vector")
    rows = f" in {counted(counts.rows, 'row')}" if counts.missing else ""
    return passed(f"{vectors}{rows}{note}", expected)


def _expected(declared: DeclaredTable, column: VectorColumn) -> str:
    share = f"{1 - declared.missing:.4g} of the rows" if declared.missing else "every row"
    parts = [f"a vector in {share}", "none zero" if column.metric == "cosine" else ""]
    parts.append("of the length 1" if declared.normalized else "")
    parts.append("not older than its text" if declared.fresh else "")
    parts.append(f"of the model {declared.model.name}" if declared.model else "")
    return ", ".join(filter(None, parts))


def _faults(context: Context, counts: Counts, column: VectorColumn, note: str) -> Iterator[Fault]:
    declared, name = context.declared, sql.Identifier(column.name)
    if counts.missing > (declared.missing or 0) * counts.rows:
        words = f"{counts.missing:,} of {counts.rows:,} rows without a vector{note}"
        yield Fault(words, _find(column, sql.SQL("{} IS NULL").format(name)))
    if counts.zero and column.metric == "cosine":
        words = f"{counts.zero:,} of {counts.rows:,} rows with a zero vector{note}"
        yield Fault(words, _find(column, sql.SQL("{} = 0").format(column.size)))
    if counts.odd:
        order = sql.SQL("SELECT {} FROM {} ORDER BY 1 DESC LIMIT 20;").format(column.size, column.relation)
        yield Fault(
            f"{counts.odd:,} of {counts.rows:,} rows with elements that no embedding has (a wrong byte order?){note}",
            f"-- Load these rows again from the right bytes. To find the largest:\n{order.as_string()}",
        )
    if _has_copies(counts, column):
        message = f"one vector in {counts.copies:,} of {counts.sampled:,} rows{note}"
        yield _copies(column, compared(context, column), message)


def _has_copies(counts: Counts, column: VectorColumn) -> bool:
    few_bits = column.type == "bit" and column.dimensions < _FEW_BITS
    allowed = counts.sampled - 1 if few_bits else counts.sampled * _COPIES
    return counts.copies >= _MANY and counts.copies > allowed


def _forbidden(
    counts: Counts, forbidden: Mapping[str, sql.Composable], declared: DeclaredTable, column: VectorColumn, note: str
) -> Iterator[Fault]:
    """Yield a fault for each declared key that some rows violate."""
    model = declared.model.name if declared.model else ""
    for key, count, words in (
        ("normalized", counts.unnormalized, "with a vector whose length is not 1"),
        ("fresh", counts.stale, "with a vector that is older than its text"),
        ("model", counts.other, f"with a vector of another model than {model}"),
    ):
        if count:
            yield Fault(f"{count:,} of {counts.rows:,} rows {words}{note}", _find(column, forbidden[key]))


def _find(column: VectorColumn, condition: sql.Composable) -> str:
    query = sql.SQL("SELECT * FROM {} WHERE {};").format(column.relation, condition).as_string()
    return f"-- Embed these rows again, or delete them. To find them:\n{query}"


def _copies(column: VectorColumn, equal: sql.Composable, message: str) -> Fault:
    group = sql.SQL("SELECT {0}, count(*) FROM {1} GROUP BY 1 ORDER BY 2 DESC LIMIT 1;")
    query = group.format(equal, column.relation).as_string()
    return Fault(message, f"-- Embed the rows of this vector again, and load the new vectors. To find it:\n{query}")


CHECK = Check(
    "vectors",
    "vectors are missing, zero with the cosine metric, one of them in more than a tenth of the rows, or out of range "
    "(as after a wrong byte order), or, if declared, not normalized, older than their text or of another model",
    run,
    after=("extension", "table", "column"),
)
