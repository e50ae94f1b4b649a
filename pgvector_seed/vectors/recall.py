"""Recall: the share of the true neighbors that a search finds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import Selection, VectorColumn, fetch_all
from pgvector_seed.vectors.exact import exact_distances

# Relative. Neighbors are compared by distance, so that any of several equally near rows counts. The server computes
# both distances by the same function: they differ only by the order of rounding.
TOLERANCE = 1e-6
RESAMPLES = 1000
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Recall:
    """The mean recall of ``queries`` queries, and the bounds of its confidence interval, each from 0 to 1."""

    mean: float
    low: float
    high: float
    queries: int


def recall_of(distances: Sequence[float], truth: Sequence[float]) -> float:
    """Return the share of the true neighbors in a result. ``truth``, their distances, is sorted and not empty."""
    farthest = truth[-1] + _tolerance(truth[-1])
    return min(sum(distance <= farthest for distance in distances), len(truth)) / len(truth)


def recall_without_query(distances: Sequence[float], truth: Sequence[float], own_distance: float) -> float | None:
    """Return the recall of a stored vector's query, whose own row is left out of both sides by its ``own_distance``.

    Returns None if the query has no neighbor but itself.
    """
    neighbors = _without_query(truth, own_distance)
    return recall_of(_without_query(distances, own_distance), neighbors) if neighbors else None


def is_tie(first: float, last: float) -> bool:
    """Return True if two distances count as equal."""
    return abs(first - last) <= _tolerance(last)


def _without_query(distances: Sequence[float], own_distance: float) -> list[float]:
    """Return the distances without the query's own: a stored vector always finds itself."""
    rest = list(distances)
    nearest = min(rest, key=lambda distance: abs(distance - own_distance), default=math.inf)
    if abs(nearest - own_distance) <= _tolerance(own_distance):
        rest.remove(nearest)
    return rest


def _tolerance(distance: float) -> float:
    return TOLERANCE * max(abs(distance), TOLERANCE)


def confidence_interval(recalls: Sequence[float], confidence: float = CONFIDENCE) -> Recall:
    """Return the mean of the queries' recalls, with a bootstrap percentile interval.

    Queries are resampled, not neighbors, since an index misses several neighbors of one query together.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rng = random.Random(0)  # noqa: S311  # seeded: the same recalls get the same verdict
    means = sorted(sum(rng.choices(recalls, k=len(recalls))) / len(recalls) for _ in range(RESAMPLES))
    tail = round(RESAMPLES * (1 - confidence) / 2)
    return Recall(sum(recalls) / len(recalls), means[tail], means[-1 - tail], len(recalls))


def measure_recall(connection: Connection, column: VectorColumn, queries: Sequence[str], k: int) -> Iterator[float]:
    """Yield the recall at ``k`` of each query that has a neighbor, with the session's settings.

    A query is a stored vector, which finds itself: it takes one of the ``k`` places, and the other ``k`` - 1 are
    compared. The limit is not raised by one for that, since an HNSW index returns at most ef_search rows: with ``k`` =
    ef_search every query would then seem to miss a neighbor. A ``k`` of 1 is taken as 2.
    """
    k = max(k, 2)
    for query in queries:
        distances = reader_distances(connection, column, query, k)
        recall = recall_of_stored(connection, column, query, distances, true_distances_of(connection, column, query, k))
        if recall is not None:
            yield recall


def reader_distances(
    connection: Connection,
    column: VectorColumn,
    query: str,
    k: int,
    condition: sql.Composable | None = None,
    values: Sequence[object] = (),
) -> list[float]:
    """Return the distances of the reader's query. The ``condition`` has $1, $2 and so on for ``values``."""
    vector, limit = (sql.SQL(f"${len(values) + number}") for number in (1, 2))
    statement = column.nearest(vector, limit, Selection((), condition))
    return [distance for (distance,) in fetch_all(connection, statement, *values, query, k) if distance is not None]


def true_distances_of(
    connection: Connection,
    column: VectorColumn,
    query: str,
    k: int,
    condition: sql.Composable | None = None,
    values: Sequence[object] = (),
) -> list[float]:
    """Return the distances of an exact search, and leave the settings as they were."""
    with connection.transaction(force_rollback=True):
        return exact_distances(connection, column, query, k, condition, values)


def recall_of_stored(
    connection: Connection, column: VectorColumn, query: str, distances: Sequence[float], truth: Sequence[float]
) -> float | None:
    """Return the recall of a stored vector's query, or None if the query has no neighbor but itself."""
    ((own_distance,),) = fetch_all(connection, column.distance_to_itself, query)
    return recall_without_query(distances, truth, own_distance)
