"""Count how often the recommended setting meets its target on fresh queries: ``python -m bench.recommended``.

20,000 clustered vectors of 64 dimensions with an HNSW index. Each run takes 400 new queries from a file, or with
``--stored`` stored vectors, and is judged by 1,000 other new ones. All are of one distribution.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import psycopg

from bench.indexes import table
from bench.measure import own_server
from bench.truth import as_queries
from pgvector_seed.data.measuring import measure
from pgvector_seed.data.search import Question, Search, find_search
from pgvector_seed.data.truth import true_distances
from pgvector_seed.data.tune import tune
from pgvector_seed.data.tuning import Aim, Level, Subject
from pgvector_seed.data.tuning_queries import TuningQuery
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.vectors.scan_settings import find_scan_settings

ROWS, DIMENSIONS, CLUSTERS, SPREAD = 20_000, 64, 20, 1.0
FRESH, QUERIES, K, TARGET, WANTED = 1000, 400, 10, 0.95, 95


class Silent:
    """Reports nothing."""

    def began(self, subject: Subject) -> None:
        """Ignore the subject."""

    def progress(self, line: str) -> None:
        """Ignore the progress."""

    def measured(self, level: Level) -> None:
        """Ignore a level."""


def clustered(count: int, seed: int) -> np.ndarray:
    """Return vectors around the centers, which are the same for every seed."""
    centers = np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSIONS), np.float32)
    dice = np.random.default_rng(seed)
    noise = dice.standard_normal((count, DIMENSIONS), np.float32)
    return np.asarray(centers[dice.integers(CLUSTERS, size=count)] + np.float32(SPREAD) * noise)


def prepare(folder: Path) -> None:
    """Fill the table, and build the index."""
    np.save(folder / f"{ROWS}-{DIMENSIONS}.npy", clustered(ROWS, 1))
    table(folder, ROWS, DIMENSIONS)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_l2_ops)")
        connection.execute("VACUUM ANALYZE items")


def recommend(connection: Connection, file: str | None) -> int | None:
    """Return the recommended hnsw.ef_search, or None. The queries are those of the file, or stored vectors."""
    level = tune(connection, Question("items"), (), Aim(K, TARGET, file=file), Silent()).recommended
    return level.value if level else None


def fresh_recall(connection: Connection, search: Search, ef_search: int, seed: int) -> float:
    """Return the mean recall of fresh queries with a setting."""
    queries = [TuningQuery(vector) for vector in as_queries(search, clustered(FRESH, seed))]
    with connection.transaction(force_rollback=True):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        truth = true_distances(connection, search, [query.vector for query in queries], K)
        settings = find_scan_settings(connection, search.column.extension, ef_search)
        connection.execute(settings.statement)
        return measure(connection, search, queries, truth, K, ()).recall.mean


def main() -> None:
    """Print the runs that meet the target, and the settings."""
    parser = argparse.ArgumentParser(prog="python -m bench.recommended")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--stored", action="store_true")
    options = parser.parse_args()
    runs = options.runs
    values: Counter[int | None] = Counter()
    recalls: list[float] = []
    with own_server() as folder:
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        prepare(folder)
        with connect() as session:
            search = find_search(session, Question("items"))
            for run in range(runs):
                file = None if options.stored else str(folder / "queries.npy")
                if file:
                    np.save(file, clustered(QUERIES, 100_000 + run))
                value = recommend(session, file)
                values[value] += 1
                recalls.append(0.0 if value is None else fresh_recall(session, search, value, 1000 + run))
    met = sum(recall >= TARGET for recall in recalls)
    print(f"{met} of {runs} runs meet {TARGET} (wanted: {WANTED} %); the worst has {min(recalls):.3f}; {dict(values)}")


if __name__ == "__main__":
    main()
