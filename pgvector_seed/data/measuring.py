"""The recall and the times of a search with one setting."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import RawCursor

from pgvector_seed.data.search import Search
from pgvector_seed.data.tuning_queries import TuningQuery
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.recall import Recall, confidence_interval, recall_of, recall_without_query


@dataclass(frozen=True)
class Measurement:
    """The recall of some queries, which were asked one after the other. Times are in milliseconds, as the client sees.

    ``short`` is the number of queries that got fewer rows than there are.
    """

    recall: Recall
    worst: float
    p50: float
    p95: float
    p99: float
    queries_per_second: float
    short: int


def ask_all(
    connection: Connection, search: Search, queries: Sequence[TuningQuery], k: int, values: Sequence[object]
) -> tuple[list[list[float]], list[float]]:
    """Return the distances of each query's answer, and the seconds that it took. Nothing is prepared."""
    answers, seconds = [], []
    for query in queries:
        cursor = RawCursor(connection)
        started = time.perf_counter()
        rows = cursor.execute(search.statement, (*values, query.vector, k), prepare=False).fetchall()
        seconds.append(time.perf_counter() - started)
        answers.append([row[0] for row in rows])
    return answers, seconds


def measure(
    connection: Connection,
    search: Search,
    queries: Sequence[TuningQuery],
    truth: Sequence[list[float]],
    k: int,
    values: Sequence[object],
) -> Measurement:
    """Return the measurement with the session's present settings. ``truth`` has the exact distances of each query."""
    answers, seconds = ask_all(connection, search, queries, k, values)
    recalls = [recall_of_query(*parts) for parts in zip(queries, answers, truth, strict=True)]
    p50, p95, p99 = (1000 * percentile(seconds, share) for share in (0.50, 0.95, 0.99))
    return Measurement(
        confidence_interval(recalls),
        min(recalls),
        p50,
        p95,
        p99,
        len(seconds) / sum(seconds),
        sum(len(answer) < len(exact) for answer, exact in zip(answers, truth, strict=True)),
    )


def recall_of_query(query: TuningQuery, distances: Sequence[float], truth: Sequence[float]) -> float:
    """Return the recall of one query; 1 if it has no neighbor but itself."""
    if query.own_distance is None:
        return recall_of(distances, truth)
    recall = recall_without_query(distances, truth, query.own_distance)
    return 1.0 if recall is None else recall


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
