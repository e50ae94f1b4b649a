"""The recall of the reader's query with a condition: the rows with one value of a column."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.common.text import printable
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import (
    CONFIDENCE,
    Recall,
    confidence_interval,
    reader_distances,
    recall_of_stored,
    true_distances_of,
)

from ..context import Context
from ..deadline import OutOfTimeError
from .filter_values import find_filter, frequent_and_rare

QUERIES = 40  # for each value
_FEWEST_QUERIES = 10
_SHARE_OF_TIME = 1 / 6


class RecallOfValue(NamedTuple):
    """A value of the column, quoted for SQL, and the recall of the queries that ask for its rows."""

    value: str
    recall: Recall


def recalls_by_value(context: Context, column: VectorColumn, name: str, k: int) -> list[RecallOfValue]:
    """Return the recall of a sample of the values that have ``k`` rows, in the reader's transaction.

    A query is a stored vector with the value, and its answer has the rows with the value alone. The intervals hold
    together: each is as wide as so many need. The rarest values are first, and those that the time does not allow are
    left out. Raises NotAllowedError, or OutOfTimeError if that is all.
    """
    context.require_select(column.name, name)
    condition = find_filter(context, name)
    assert condition is not None
    k = max(k, 2)
    values = frequent_and_rare(context, column, name, k)
    end = time.monotonic() + _SHARE_OF_TIME * context.deadline.seconds_left
    measured = []
    for number, value in enumerate(values):
        part = (end - time.monotonic()) / (len(values) - number)
        recalls = _recalls(context, column, k, condition, value, time.monotonic() + part, end)
        if recalls is None:
            break
        if recalls:
            measured.append((value, recalls))
    if values and not measured and time.monotonic() > end:
        raise OutOfTimeError(f"a sixth of the time left was too short for {_FEWEST_QUERIES} queries with one {name}")
    return _intervals(measured)


def _recalls(
    context: Context, column: VectorColumn, k: int, condition: sql.Composable, value: str, part: float, end: float
) -> list[float] | None:
    """Return the recall of each query for a value until its ``part`` of the time is over; of 10 at least.

    Returns None if the ``end`` comes before.
    """
    size = context.size_in_bytes
    queries = sample_queries(context.connection, column, size, QUERIES, condition, (value,))
    recalls = []
    for number, query in enumerate(queries):
        if number >= _FEWEST_QUERIES and time.monotonic() > part:
            break
        if time.monotonic() > end:
            return None
        recall = _recall(context, column, query, k, condition, value)
        recalls += [] if recall is None else [recall]
    return recalls


def _recall(
    context: Context, column: VectorColumn, query: str, k: int, condition: sql.Composable, value: str
) -> float | None:
    connection = context.connection
    distances = reader_distances(connection, column, query, k, condition, (value,))
    truth = true_distances_of(connection, column, query, k, condition, (value,))
    return recall_of_stored(connection, column, query, distances, truth)


def _intervals(measured: Sequence[tuple[str, list[float]]]) -> list[RecallOfValue]:
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(measured))
    return [
        RecallOfValue(printable(sql.Literal(value).as_string()), confidence_interval(recalls, confidence))
        for value, recalls in measured
    ]
