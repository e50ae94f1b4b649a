"""Load Parquet with text and jsonb beside the vectors, and with numbers alone: ``python -m bench.load_parquet``.

Each load is a command of its own, whose peak of memory is measured, too. ``bench.load`` runs this at its end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measure import own_server

ROWS, DIMENSIONS, GROUP = 1_000_000, 128, 100_000
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(128), title text, about jsonb)"
COLUMNS = {"numbers": ["id", "embedding"], "text and jsonb": ["id", "embedding", "title", "about"]}
# Runs a command, and adds the peak of its memory in kB.
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
IMPORTS = [sys.executable, "-c", "import pyarrow.parquet, seed.load.work; print('{}')"]


class Run(NamedTuple):
    """A load's rows per second, and the peak of its memory in bytes."""

    rate: float
    peak: int


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Write both files, in row groups, and return them by the names of COLUMNS."""
    dice, files = np.random.default_rng(1), {name: folder / f"{len(names)}.parquet" for name, names in COLUMNS.items()}
    types: dict[str, pa.DataType] = {"id": pa.int64(), "embedding": pa.list_(pa.float32(), DIMENSIONS)}
    types |= {"title": pa.string(), "about": pa.string()}
    for name, names in COLUMNS.items():
        schema = pa.schema([(column, types[column]) for column in names])
        with pq.ParquetWriter(files[name], schema, compression="none") as writer:
            for start in range(0, rows, GROUP):
                ids = range(start, min(start + GROUP, rows))
                values = dice.random(len(ids) * DIMENSIONS, np.float32)
                columns = {
                    "id": pa.array(ids),
                    "embedding": pa.FixedSizeListArray.from_arrays(values, DIMENSIONS),
                    "title": [f"{id_} {'text' * 150}" for id_ in ids],
                    "about": [json.dumps({"row": id_, "tags": ["a", "b"]}) for id_ in ids],
                }
                writer.write_table(pa.table({column: columns[column] for column in names}, schema))
    return files


def run(words: list[str]) -> tuple[dict[str, float], int]:
    """Return a command's JSON document, and the peak of its memory in bytes."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], check=True, stdout=subprocess.PIPE, text=True)
    document, _, peak = done.stdout.rstrip().rpartition("\n")
    return json.loads(document), int(peak) * 1024


def load(file: Path) -> Run:
    """Load a file into an empty table."""
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(TABLE)
        connection.execute("CHECKPOINT")
    document, peak = run([sys.executable, "-m", "seed", "load", str(file), "--table", "items", "--json"])
    return Run(document["rows_per_second"], peak)


def compare(rows: int, rounds: int) -> None:
    """Print medians of both loads, in turn, on the server of the environment."""
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), rows)
        imports = run(IMPORTS)[1]
        runs = [{name: load(file) for name, file in files.items()} for _ in range(rounds)]
    print(f"\nParquet, {rows:,} rows x {DIMENSIONS}, medians of {rounds} rounds")
    for name in COLUMNS:
        rate = statistics.median(loads[name].rate for loads in runs)
        above = max(loads[name].peak for loads in runs) - imports
        print(f"  {name:15} {rate:10,.0f} rows/s, at most {above / 1e6:,.0f} MB above the imports")
    ratios = sorted(loads["text and jsonb"].rate / loads["numbers"].rate for loads in runs)
    print(
        f"  with text and jsonb / numbers alone {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    """Compare on a server of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.load_parquet")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with own_server():
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        compare(arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
