"""The check recall: the reader's query returns the declared share of the exact nearest neighbors."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import Recall, confidence_interval

from ..context import Context, NotAllowedError
from ..deadline import OutOfTimeError
from ..model import Check, Fault, Outcome, failed, failed_with, not_declared, passed, skipped
from .filter_values import find_filter
from .filtered import RecallOfValue, recalls_by_value
from .measured import measured_recalls
from .recall_remedy import column_name, filter_remedy, recall_remedy
from .table import SEE_MIGRATIONS

# More queries narrow the interval: 400 tell a recall of 0.90 from a declared 0.95, even if some queries find nothing.
QUERIES = 400
MOST_DIMENSIONS = 64_000  # of bit, the largest of any type: the section "HNSW" of pgvector's README


def run(context: Context) -> Outcome:
    """Measure recall with stored vectors; fail if the upper bound of an interval is below the declared minimum."""
    column, declared = context.vector_column, context.declared.recall
    if column is None or column.metric is None or declared is None:
        return not_declared("a recall")
    if context.catalog_column and context.catalog_column.modifier > MOST_DIMENSIONS:
        return skipped(f"more than {MOST_DIMENSIONS:,} dimensions: no index of pgvector takes as many")
    expected = f"recall@{declared.k} of at least {declared.minimum:g}"
    if declared.filter:
        expected += f", also for each {column_name(context)}"
        if find_filter(context, declared.filter) is None:
            return failed(expected, f"there is no column {declared.filter} with plain values", SEE_MIGRATIONS)
    with context.as_reader(column):
        queries = sample_queries(context.connection, column, context.size_in_bytes, QUERIES)
        if not queries:
            return skipped("the table has no vector to query with", expected)
        recalls = measured_recalls(context, column, queries, declared.k)
        if not recalls:
            return skipped("no stored vector has a neighbor to find", expected)
        return _judge(context, column, declared, expected, confidence_interval(recalls))


def _judge(context: Context, column: VectorColumn, declared: DeclaredRecall, expected: str, recall: Recall) -> Outcome:
    faults = []
    if recall.high < declared.minimum:
        faults.append(Fault(_words(recall), recall_remedy(context, column, declared.k)))
    by_value: Sequence[RecallOfValue] = ()
    try:
        if declared.filter:
            by_value = recalls_by_value(context, column, declared.filter, declared.k)
    except (NotAllowedError, OutOfTimeError):
        if not faults:
            raise
    worst = min(by_value, key=lambda entry: (entry.recall.high >= declared.minimum, entry.recall.mean), default=None)
    if worst and worst.recall.high < declared.minimum:
        words = f"with {column_name(context)} = {worst.value}: {_words(worst.recall)}"
        faults.append(Fault(words, filter_remedy(context, column, declared.k)))
    if faults:
        return failed_with(expected, faults)
    return passed(_words(recall) + _of_values(context, declared, by_value), expected)


def _words(recall: Recall) -> str:
    return f"{recall.mean:.3f}, between {recall.low:.3f} and {recall.high:.3f}, by {recall.queries:,} queries"


def _of_values(context: Context, declared: DeclaredRecall, by_value: Sequence[RecallOfValue]) -> str:
    """Return what the message of a pass says of the values, or ""."""
    if not declared.filter:
        return ""
    if not by_value:
        return f"; no {column_name(context)} has {max(declared.k, 2)} rows"
    worst = min((entry.recall for entry in by_value), key=lambda recall: recall.mean)
    return f"; with the worst of {len(by_value)} values of {column_name(context)}: {_words(worst)}"


CHECK = Check(
    "recall",
    "the recall of the reader's query, or of the one with a condition, is below the declared minimum",
    run,
    after=("extension", "table", "column", "vectors", "index", "roles"),
)
