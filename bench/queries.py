"""Compare searches with hand-written ones: ``python -m bench.queries [--rounds N]``.

Each comparison alternates on one server of its own. The ratios are of times, turned so that more is better for us.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from bench.indexes import compare
from bench.measure import own_server, seconds
from bench.truth import SHAPES, truth_times
from pgvector_seed import load, nearest
from pgvector_seed.data.answer import answering, parameters_of
from pgvector_seed.data.asking import run
from pgvector_seed.data.block import Array
from pgvector_seed.data.many import answer_many
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, find_search
from pgvector_seed.postgres.connection import connect

Rounds = list[tuple[float, float]]
RESULTS = Path(__file__).parent / "results" / "query.json"
ROWS, QUERIES = 20_000, 2000
BY_HAND = "SELECT id, embedding <-> %s AS distance, label FROM items ORDER BY distance LIMIT 10"


def fill(dimensions: int) -> Array:
    """Make the table items with an HNSW index, and return queries."""
    draw = np.random.default_rng(1)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        create = f"CREATE TABLE items (id bigint PRIMARY KEY, label text, embedding vector({dimensions}))"
        connection.execute(create.encode())
    vectors = draw.standard_normal((ROWS, dimensions), np.float32)
    load(vectors, np.arange(ROWS), columns={"label": ["a label"] * ROWS}, table="items")
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
        connection.execute("VACUUM ANALYZE items")
    return draw.standard_normal((QUERIES, dimensions), np.float32)


def nearest_times(dimensions: int, count: int) -> Rounds:
    """Return the times of queries by hand, prepared, binary, in a transaction with the setting; and by ``nearest``."""
    queries = fill(dimensions)
    with psycopg.connect(autocommit=True) as hand, psycopg.connect(autocommit=True) as ours:
        register_vector(hand)

        def by_hand() -> None:
            for query in queries:
                with hand.transaction():
                    hand.execute("SET LOCAL hnsw.iterative_scan = strict_order")
                    hand.execute(BY_HAND, (query,), prepare=True, binary=True).fetchall()

        def by_us() -> None:
            for query in queries:
                nearest(ours, "items", query)

        by_hand()  # prepared, and the caches warm
        by_us()
        return [(seconds(by_hand), seconds(by_us)) for _ in range(count)]


def file_times(dimensions: int, count: int) -> Rounds:
    """Return the times of the queries of a file one by one, and in pipelines."""
    queries = fill(dimensions)
    with connect() as connection:
        register(connection)
        search = find_search(connection, Question("items"))

        def one_by_one() -> None:
            for query in queries:
                run(connection, answering(search, parameters_of(search, query, 10), fallback=True))

        def in_pipelines() -> None:
            for _ in answer_many(connection, search, queries, 10, fallback=True):
                pass

        return [(seconds(one_by_one), seconds(in_pipelines)) for _ in range(count)]


COMPARISONS: list[tuple[str, int, Callable[[Path, int], Rounds], float]] = [
    ("queries by hand / nearest", 128, lambda _, count: nearest_times(128, count), 0.85),
    ("queries by hand / nearest", 1536, lambda _, count: nearest_times(1536, count), 0.85),
    ("queries one by one / a file of queries", 128, lambda _, count: file_times(128, count), 1.15),
    ("queries one by one / a file of queries", 1536, lambda _, count: file_times(1536, count), 1.15),
    *(
        (
            "the server's exact scans / truth of 1,000 queries",
            dimensions,
            partial(truth_times, rows=rows, dimensions=dimensions),
            10.0,
        )
        for rows, dimensions in SHAPES
    ),
]


def main() -> None:
    """Print the table, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with own_server() as folder:
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        results = []
        for name, dimensions, work, target in COMPARISONS:
            results.append(compare(name, dimensions, work(folder, rounds), target))
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")  # also if a later comparison is interrupted


if __name__ == "__main__":
    main()
