"""Compare `load` with the server's own COPY and with other loaders: ``python -m bench.load [--peers PYTHON]``.

In each round, every loader fills a new table on a server of its own. The ratios are of rows per second and of client
CPU: more is better for us. The peers run in an environment of their own: bench/load_peers.py has the commands.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bench import load_parquet
from bench.loaders import ROWS, Bench
from bench.measure import own_server

ROUNDS = 5
RESULTS = Path(__file__).parent / "results" / "load.json"


def empty_table(dimensions: int) -> None:
    """Create the table anew, and write the server's dirty pages."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, embedding vector({dimensions}))".encode())
        connection.execute("CHECKPOINT")


def measure(work: Callable[[], int]) -> tuple[float, float]:
    """Return the rows per second of wall time, and per second of this process."""
    started, cpu_started = time.perf_counter(), time.process_time()
    rows = work()
    return rows / (time.perf_counter() - started), rows / (time.process_time() - cpu_started)


def one_round(bench: Bench) -> dict[str, tuple[float, float]]:
    """Run every loader once, and return its rates."""
    rates = {}
    loaders: dict[str, Callable[[], int]] = {
        "limit": bench.limit,
        "frames": bench.frames,
        "write_row": bench.write_row,
        "executemany": bench.executemany,
        "jobs 2": lambda: bench.load(jobs=2),
        "load": bench.load,
    }
    for name, work in loaders.items():
        empty_table(bench.dimensions)
        rates[name] = measure(work)
    rates["unchanged"] = measure(bench.load)
    rates["keep"] = measure(lambda: bench.load(existing="keep"))
    for name in ("adbc", "vecs", "langchain") if bench.peers else ():
        empty_table(bench.dimensions)
        rates[name] = (bench.peer(name)(), 1.0)
    return rates


# The label, the names of two loaders, 0 for wall time or 1 for CPU, and the targets with 128 and 1,536 dimensions.
COMPARISONS: list[tuple[str, str, str, int, tuple[float, float] | None]] = [
    ("bare frames / the server's COPY of a file", "frames", "limit", 0, (0.88, 0.88)),
    ("load / the server's COPY of a file", "load", "limit", 0, (0.82, 0.82)),
    ("load / pgvector-python's write_row", "load", "write_row", 0, (1.0, 1.0)),
    ("CPU of write_row / of load", "load", "write_row", 1, (4.0, 1 / 0.65)),
    ("load / executemany", "load", "executemany", 0, (3.5, 1.3)),
    ("all rows unchanged / the first load", "unchanged", "load", 0, (1.2, 1.2)),
    ("all rows unchanged, with --keep / the first load", "keep", "load", 0, (4.0, 4.0)),
    ("load --jobs 2 / load", "jobs 2", "load", 0, None),
    ("load / ADBC into a staging table", "load", "adbc", 0, (3.0, 3.0)),
    ("load / vecs upsert", "load", "vecs", 0, (25.0, 25.0)),
    ("load / LangChain PGVector", "load", "langchain", 0, (30.0, 30.0)),
]


def compare(dimensions: int, rounds: list[dict[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    """Print the comparisons, and return those that have a target."""
    results = []
    for name, ours, other, clock, targets in COMPARISONS:
        if other not in rounds[0]:
            continue
        ratios = sorted(rates[ours][clock] / rates[other][clock] for rates in rounds)
        ratio, spread = statistics.median(ratios), ratios[-1] - ratios[0]
        target = targets and targets[dimensions > 128]
        verdict = "" if target is None else f"target {target:.2f}: {'met' if ratio + spread >= target else 'MISSED'}"
        print(f"{name:48} {ratio:6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {verdict}")
        if target is not None:
            results.append({"name": name, "dimensions": dimensions, "ratio": ratio, "spread": spread, "target": target})
    return results


def main() -> None:
    """Print both tables, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--peers", help="the Python of an environment that has the peers")
    peers = parser.parse_args().peers
    results = []
    with own_server(), tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server may be another user
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for dimensions in ROWS:
            bench = Bench(Path(folder), dimensions, peers)
            bench.write()
            rounds = [one_round(bench) for _ in range(ROUNDS)]
            print(f"\n{dimensions} dimensions, {bench.rows:,} rows, medians of {ROUNDS} rounds")
            for name in rounds[0]:
                rate = statistics.median(rates[name][0] for rates in rounds)
                print(f"  {name:12} {rate:10,.0f} rows/s")
            results += compare(dimensions, rounds)
        load_parquet.compare(load_parquet.ROWS, ROUNDS)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
