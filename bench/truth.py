"""Compare the exact neighbors of 1,000 queries, found by numpy, with the server's exact scan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psycopg

from bench.indexes import table
from bench.measure import seconds
from pgvector_seed.data.query_vector import QueryVector, query_vector
from pgvector_seed.data.search import Question, Search, find_search
from pgvector_seed.data.truth import true_distances
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.recall import is_tie

QUERIES, K = 1000, 10
SHAPES = ((100_000, 128), (20_000, 1536))
# By hand, with the server's defaults: it may use parallel workers.
_SCAN = b"SELECT embedding <-> %s::vector FROM items ORDER BY 1 LIMIT %s"


def truth_times(folder: Path, rounds: int, rows: int = 100_000, dimensions: int = 128) -> list[tuple[float, float]]:
    """Return the times of the server's scan and of ours for one of SHAPES. Fails if a set of neighbors differs."""
    table(folder, rows, dimensions)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE items")
    vectors = np.random.default_rng(2).standard_normal((QUERIES, dimensions), np.float32)
    times = []
    for _ in range(rounds):
        theirs: list[list[float]] = []
        ours: list[list[float]] = []
        server_seconds = seconds(partial(scan, vectors, theirs))
        times.append((server_seconds, seconds(partial(compute, vectors, ours))))
        if not is_same(theirs, ours):
            raise SystemExit("the neighbors differ")
    return times


def scan(vectors: np.ndarray, distances: list[list[float]]) -> None:
    """Fill ``distances`` with those of each query, asked by hand one after the other."""
    texts = ["[" + ",".join(map(repr, row)) + "]" for row in vectors.tolist()]
    with psycopg.connect() as connection, connection.cursor(binary=True) as cursor:
        distances += [[row[0] for row in cursor.execute(_SCAN, (text, K))] for text in texts]


def compute(vectors: np.ndarray, distances: list[list[float]]) -> None:
    """Fill ``distances`` with those of each query, by ``true_distances``."""
    with connect() as connection:
        search = find_search(connection, Question("items", metric="l2"))
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            distances += true_distances(connection, search, as_queries(search, vectors), K)


def as_queries(search: Search, vectors: np.ndarray) -> list[QueryVector]:
    """Return vectors as parameters of the search."""
    return [query_vector(search.target.vector, search.column.metric, vector) for vector in vectors]


def is_same(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> bool:
    """Return True if the neighbors of each query have equal distances, by the tolerance of recall."""
    pairs = (zip(*both, strict=True) for both in zip(first, second, strict=True))
    return all(is_tie(*distances) for query in pairs for distances in query)
