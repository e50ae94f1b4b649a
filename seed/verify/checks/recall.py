"""recall: the reader finds the share of the true neighbours that was declared."""

from __future__ import annotations

import time

from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import stored_vectors
from pgvector_seed.vectors.recall import Recall, confidence_interval, measure_recall

from ..context import Look
from ..deadline import OutOfTimeError
from ..model import Check, Outcome, failed, not_declared, passed, skipped

# More queries narrow the interval: 400 tell a recall of 0.90 from a declared 0.95, also where whole queries miss.
QUERIES = 400
MOST_DIMENSIONS = 64_000  # of bits: the section "HNSW" of pgvector's README
FEWEST_QUERIES = 10
_PART_OF_TIME = 1 / 6
_REMEDY = (
    "Let the readers search wider (hnsw.ef_search, ivfflat.probes), "
    "or build the index anew with larger m and ef_construction, or more fitting lists."
)


def judge(look: Look) -> Outcome:
    """Compare what the reader's query finds with the exact neighbours; fail only beyond doubt."""
    column, declared = look.searched, look.table.recall
    if column is None or column.metric is None or declared is None:
        return not_declared("a recall")
    if look.vector and look.vector.modifier > MOST_DIMENSIONS:
        return skipped(f"more than {MOST_DIMENSIONS:,} dimensions: no index of pgvector has as many")
    expected = f"recall@{declared.k} of at least {declared.minimum:g}"
    with look.as_reader(column):
        queries = stored_vectors(look.connection, column, look.bytes, QUERIES)
        if not queries:
            return skipped("there is no vector to ask for", expected)
        found = _measure(look, column, queries, declared)
    words = f"{found.mean:.3f}, between {found.low:.3f} and {found.high:.3f}, by {found.queries} queries"
    return passed(words, expected) if found.high >= declared.minimum else failed(expected, words, _REMEDY)


def _measure(look: Look, column: VectorColumn, queries: list[str], declared: DeclaredRecall) -> Recall:
    """By as many of the queries as a sixth of the time that is left allows."""
    end = time.monotonic() + _PART_OF_TIME * look.clock.left
    recalls: list[float] = []
    for recall in measure_recall(look.connection, column, queries, declared.k):
        recalls.append(recall)
        if time.monotonic() > end:
            break
    if len(recalls) < min(FEWEST_QUERIES, len(queries)):
        raise OutOfTimeError(f"only {len(recalls)} queries could be asked in a sixth of the time that was left")
    return confidence_interval(recalls)


CHECK = Check(
    "recall",
    "what the reader finds of the true neighbours is below the declared minimum",
    judge,
    after=("extension", "table", "column", "vectors", "index", "roles"),
)
