"""Compare `load` with the server's own COPY and with other loaders: ``python -m bench.load [--peers PYTHON]``.

A server of its own has one table, which each loader fills anew, in turn; a round has all of them. The ratios are of
rows per second, turned so that more is better for us, and of client CPU. Peers that are not among our packages run by
the interpreter of an environment of their own, which bench/load_peers.py says how to make.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector

from bench import load_parquet
from bench.measure import own_server
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.load import load_files
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.summary import Work
from pgvector_seed.vectors.frames import Buffer

ROUNDS = 5
ROWS = {128: 300_000, 1536: 20_000}
# Slow loaders get one of so many rows.
SLOW = {"executemany": 20, "adbc": 4, "vecs": 100, "langchain": 100}
PEERS = Path(__file__).with_name("load_peers.py")
RESULTS = Path(__file__).parent / "results" / "load.json"
COPY = "COPY items (id, embedding) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True)
class Bench:
    """The files of one number of dimensions."""

    folder: Path
    dimensions: int
    peers: str | None

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return ROWS[self.dimensions]

    @property
    def file(self) -> Path:
        """The vectors."""
        return self.folder / f"{self.dimensions}.npy"

    def write(self) -> None:
        """Write the vectors, and the same rows as a file for the server's own COPY."""
        dice = np.random.default_rng(1)
        values = dice.random((self.rows, self.dimensions), np.float32)
        np.save(self.file, values)
        self.binary.write_bytes(b"".join(self.encoded(values, 1)))
        self.binary.chmod(0o644)

    @property
    def binary(self) -> Path:
        """The rows in COPY's format."""
        return self.file.with_suffix(".copy")

    def encoded(self, values: Any, first: int) -> tuple[Buffer, ...]:
        """Return header, rows and trailer in COPY's format."""
        ids = np.arange(first, first + len(values))
        fixed = {"id": ("int8", ids), "embedding": ("vector", values)}
        return Rows("", ids, fixed, {}).encode()

    def limit(self) -> int:
        """Let the server read the file itself."""
        with psycopg.connect() as connection:
            connection.execute(f"COPY items FROM '{self.binary}' (FORMAT binary)".encode())
        return self.rows

    def frames(self) -> int:
        """Send blocks of 4 MB in one COPY."""
        values = np.load(self.file, mmap_mode="r")
        step = (4 << 20) // (4 * self.dimensions)
        with psycopg.connect() as connection, connection.cursor().copy(COPY) as copy:
            for start in range(0, self.rows, step):
                header, rows, trailer = self.encoded(values[start : start + step], start + 1)
                copy.write(rows if start else bytes(header) + bytes(rows))
            copy.write(trailer)
        return self.rows

    def load(self, jobs: int = 1, **options: Any) -> int:
        """Run our load, with its checks and what it does afterwards, but without the start of the interpreter."""
        return load_files([str(self.file)], LoadOptions("items", number_from=1, **options), work=Work(jobs)).rows

    def write_row(self) -> int:
        """Load as pgvector-python documents it."""
        values = np.load(self.file)
        with psycopg.connect() as connection:
            register_vector(connection)
            with connection.cursor().copy(COPY) as copy:
                copy.set_types(["int8", "vector"])
                for id_, row in enumerate(values, start=1):
                    copy.write_row((id_, Vector(row)))
        return self.rows

    def executemany(self) -> int:
        """Insert single rows, pipelined and binary."""
        values = np.load(self.file)[: self.rows // SLOW["executemany"]]
        with psycopg.connect() as connection:
            register_vector(connection)
            rows = [(id_, Vector(row)) for id_, row in enumerate(values, start=1)]
            connection.cursor().executemany("INSERT INTO items VALUES (%b, %b)", rows)
        return len(values)

    def peer(self, name: str) -> Callable[[], float]:
        """Return a function that has a peer report its rows per second."""

        def run() -> float:
            words = [str(self.peers), str(PEERS), name, str(self.file), str(self.rows // SLOW[name])]
            return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])

        return run


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
    """Return the rates of every loader, one after the other."""
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


# Our loader, the other one, 0 for wall time or 1 for CPU, and the targets with 128 and 1,536 dimensions.
COMPARISONS: list[tuple[str, str, str, int, tuple[float, float] | None]] = [
    ("bare frames / the server's COPY of a file", "frames", "limit", 0, (0.88, 0.88)),
    ("load / the server's COPY of a file", "load", "limit", 0, (0.82, 0.82)),
    ("load / pgvector-python's write_row", "load", "write_row", 0, (1.0, 1.0)),
    ("CPU of write_row / of load", "load", "write_row", 1, (4.0, 1 / 0.65)),
    ("load / executemany", "load", "executemany", 0, (3.5, 1.3)),
    ("all rows unchanged / the first load", "unchanged", "load", 0, (1.2, 1.2)),
    ("the same with --keep / the first load", "keep", "load", 0, (4.0, 4.0)),
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
        print(f"{name:45} {ratio:6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {verdict}")
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
