"""The recall of the reader's queries, as many as the time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pgvector_seed.data.query_vector import from_text
from pgvector_seed.data.truth import Distances, computed, is_computable
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.recall import measure_recall, reader_distances, recall_of_stored, true_distances_of

from ..context import Context
from ..deadline import OutOfTimeError

FEWEST_QUERIES = 10
# Of the time left, for all queries one by one, and before that for the reader's queries alone and numpy's reading of
# the table. One by one, 400 queries of 1,000,000 x 128 take 22 to 47 s.
_SHARE_OF_TIME = 1 / 6
_SHARE_OF_NUMPY = 1 / 3


def measured_recalls(context: Context, column: VectorColumn, queries: Sequence[str], k: int) -> list[float]:
    """Return the recall of each query that has a neighbor, in the reader's transaction. ``k`` as in ``measure_recall``.

    Raises OutOfTimeError if the time is over after fewer than 10 queries.
    """
    if is_computable(context.connection, column, context.table.oid):
        return _with_numpy(context, column, queries, max(k, 2))
    end = _end(context)
    recalls = []
    for recall in measure_recall(context.connection, column, queries, k):
        recalls.append(recall)
        if time.monotonic() > end:
            _refuse_few(len(recalls), len(queries))
            break
    return recalls


def _with_numpy(context: Context, column: VectorColumn, queries: Sequence[str], k: int) -> list[float]:
    """Ask all of the reader's queries, and read the table once for the truth of all."""
    answers = list(_answers(context, column, queries, k))
    asked = queries[: len(answers)]
    known = _truth(context, column, asked, k)
    end = _end(context)
    recalls, measured = [], 0
    for query, answer, truth in zip(asked, answers, known, strict=True):
        if truth is None and time.monotonic() > end:
            continue
        truth = truth if truth is not None else true_distances_of(context.connection, column, query, k)
        recalls.append(recall_of_stored(context.connection, column, query, answer, truth))
        measured += 1
    _refuse_few(measured, len(queries))
    return [recall for recall in recalls if recall is not None]


def _answers(context: Context, column: VectorColumn, queries: Sequence[str], k: int) -> Iterator[Distances]:
    end = _end(context)
    for number, query in enumerate(queries, start=1):
        yield reader_distances(context.connection, column, query, k)
        if time.monotonic() > end:
            _refuse_few(number, len(queries))
            return


def _truth(context: Context, column: VectorColumn, queries: Sequence[str], k: int) -> list[Distances | None]:
    """Return the true distances of each query, or None for those that are still to be asked."""
    vectors = [from_text(column.type, query) for query in queries]
    distances = context.deadline.within(
        context.connection, _SHARE_OF_NUMPY, lambda: computed(context.connection, column, vectors, k)
    )
    return distances or [None] * len(queries)


def _end(context: Context) -> float:
    return time.monotonic() + _SHARE_OF_TIME * context.deadline.seconds_left


def _refuse_few(measured: int, queries: int) -> None:
    if measured < min(FEWEST_QUERIES, queries):
        raise OutOfTimeError(f"only {measured} queries could be run in a sixth of the time left")
