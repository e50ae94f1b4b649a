"""Compare the build of a declared index with builds by hand: ``python -m bench.indexes [--rounds N]``.

Each comparison alternates on one server of its own. The ratios are of times, turned so that more is better for us.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from bench.clients import p95_while
from bench.measure import own_server, seconds
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.load import load_files
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.build import build_index
from pgvector_seed.vectors.index.definition import IndexDefinition

RESULTS = Path(__file__).parent / "results" / "index.json"
# The best settings by hand that were found on 2 cores and 24 GB: the leader and one worker, all of the graph in memory.
TUNED = """
SET maintenance_work_mem = '4GB'; SET max_parallel_maintenance_workers = 1; SET min_parallel_table_scan_size = 0
"""
CREATE = "CREATE INDEX {} ON items USING hnsw (embedding vector_l2_ops) WITH (m = {})"


def definition(m: int = 16) -> IndexDefinition:
    """Return the definition of the index of every comparison."""
    return IndexDefinition("public", "items", "items_embedding_hnsw", "embedding", "hnsw", "l2", {"m": m})


def ours(m: int = 16) -> None:
    """Build the index, or replace it."""
    with connect() as connection:
        build_index(connection, definition(m), lambda _line: None)


def by_hand(settings: str = "", *, concurrently: bool = False, m: int = 16) -> None:
    """Build an index with ``settings``. If ``concurrently``, beside the one that exists, which is then dropped."""
    with psycopg.connect(autocommit=True) as connection:
        if settings:
            connection.execute(settings.encode())
        name = "CONCURRENTLY items_other" if concurrently else "items_embedding_hnsw"
        connection.execute(CREATE.format(name, m).encode())
        if concurrently:
            connection.execute("DROP INDEX CONCURRENTLY items_embedding_hnsw")
            connection.execute("ALTER INDEX items_other RENAME TO items_embedding_hnsw")


def table(folder: Path, rows: int, dimensions: int, *, load: bool = True) -> str:
    """Create the table anew, and return the file with its vectors. ``load`` also fills the table."""
    file = folder / f"{rows}-{dimensions}.npy"
    if not file.exists():
        np.save(file, np.random.default_rng(1).standard_normal((rows, dimensions), np.float32))
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, embedding vector({dimensions}))".encode())
    if load:
        fill(str(file))
    return str(file)


def fill(file: str) -> None:
    """Load the file into the table."""
    load_files([file], LoadOptions("items", number_from=1))


def drop() -> None:
    """Drop the index, and write the server's dirty pages."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("DROP INDEX IF EXISTS items_embedding_hnsw")
        connection.execute("CHECKPOINT")


def build_times(folder: Path, count: int, settings: str) -> list[tuple[float, float]]:
    """Return the times of a build by hand and of ours, on 50,000 x 768."""
    table(folder, 50_000, 768)
    rounds = []
    for _ in range(count):
        drop()
        hand = seconds(partial(by_hand, settings))
        drop()
        rounds.append((hand, seconds(ours)))
    return rounds


def times_until_searchable(folder: Path, count: int) -> list[tuple[float, float]]:
    """Return the times of the index before the load, and of the load before the index, on 100,000 x 128."""
    rounds = []
    for _ in range(count):
        file = table(folder, 100_000, 128, load=False)
        by_hand()
        index_first = seconds(partial(fill, file))
        table(folder, 100_000, 128, load=False)
        rounds.append((index_first, seconds(partial(fill, file)) + seconds(ours)))
    return rounds


def latencies(folder: Path, count: int) -> list[tuple[float, float]]:
    """Return the 95th percentile of 8 clients' queries during a build by hand, and during our replacement.

    Both replace an index with m = 8 by one with m = 16.
    """
    table(folder, 50_000, 128)
    rounds = []
    for _ in range(count):
        ours(m=8)
        hand = p95_while(partial(by_hand, TUNED, concurrently=True))
        ours(m=8)
        rounds.append((hand, p95_while(ours)))
    return rounds


COMPARISONS: list[tuple[str, int, Callable[[Path, int], list[tuple[float, float]]], float]] = [
    ("build by hand, tuned / ours", 768, lambda folder, count: build_times(folder, count, TUNED), 1 / 1.05),
    ("build with the server's defaults / ours", 768, lambda folder, count: build_times(folder, count, ""), 2.0),
    ("index first / load first, until searchable", 128, times_until_searchable, 3.0),
    ("p95 of 8 clients: build by hand / our replacement", 128, latencies, 1 / 1.25),
]


def compare(name: str, dimensions: int, rounds: list[tuple[float, float]], target: float) -> dict[str, Any]:
    """Print a comparison, and return it for the results."""
    ratios = sorted(other / own for other, own in rounds)
    ratio, spread = statistics.median(ratios), ratios[-1] - ratios[0]
    verdict = "met" if ratio + spread >= target else "MISSED"
    other, own = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(
        f"{name:50} {other:8.3f} s / {own:8.3f} s = {ratio:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  "
        f"target {target:.2f}: {verdict}",
        flush=True,
    )
    return {"name": name, "dimensions": dimensions, "ratio": ratio, "spread": spread, "target": target}


def main() -> None:
    """Print the table, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.indexes")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with own_server() as folder:
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        results = [
            compare(name, dimensions, work(folder, rounds), target) for name, dimensions, work, target in COMPARISONS
        ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
