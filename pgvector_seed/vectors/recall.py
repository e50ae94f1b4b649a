"""Recall: the share of the true neighbours that a search finds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn, ask
from pgvector_seed.vectors.exact import exact_distances

# A neighbour counts by its distance, so that one of several equally near rows is as good as another. Both distances
# are computed by the same function of the server: they differ by nothing but the order of rounding.
TOLERANCE = 1e-6
RESAMPLES = 1000
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Recall:
    """The mean over the queries, with the bounds of its interval, each from 0 to 1."""

    mean: float
    low: float
    high: float
    queries: int


def recall_of(found: Sequence[float], truth: Sequence[float]) -> float:
    """The share of ``truth`` that was found. Both are distances; ``truth`` is sorted and not empty."""
    farthest = truth[-1] + _room(truth[-1])
    return min(sum(distance <= farthest for distance in found), len(truth)) / len(truth)


def others(distances: Sequence[float], itself: float) -> list[float]:
    """The distances without one that is the query's own: a stored vector that finds itself proves nothing."""
    kept = list(distances)
    nearest = min(kept, key=lambda distance: abs(distance - itself), default=math.inf)
    if abs(nearest - itself) <= _room(itself):
        kept.remove(nearest)
    return kept


def _room(distance: float) -> float:
    return TOLERANCE * max(abs(distance), TOLERANCE)


def interval(values: Sequence[float]) -> Recall:
    """The mean of the queries' recalls, with a bootstrap percentile interval.

    Whole queries are drawn again, not neighbours: the neighbours of a query are missed together.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    dice = random.Random(0)  # noqa: S311  # the same recalls must get the same verdict
    means = sorted(sum(dice.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Recall(sum(values) / len(values), means[tail], means[-1 - tail], len(values))


def measure(connection: Connection, column: VectorColumn, queries: Sequence[str], k: int) -> Iterator[float]:
    """The recall of each query in turn, by the settings of the session, the query itself left out.

    At least two neighbours are asked for, so that there is another one. A query without any is left out.
    """
    k = max(k, 2)
    for query in queries:
        found = _nearest(connection, column, query, k)
        with connection.transaction(force_rollback=True):  # the settings of the exact search end here
            truth = exact_distances(connection, column, query, k)
        ((itself,),) = ask(connection, column.distance_to_itself, query)
        if neighbours := others(truth, itself):
            yield recall_of(others(found, itself), neighbours)


def _nearest(connection: Connection, column: VectorColumn, query: str, k: int) -> list[float]:
    rows = ask(connection, column.nearest(sql.SQL("$1"), sql.SQL("$2")), query, k)
    return [distance for (distance,) in rows if distance is not None]
