"""Tables, files and runs of ``python -m seed load`` for the tests."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from local.workspace import ROOT
from pgvector_seed.vectors.frames import HEADER, TRAILER, record
from tests.commands import run_seed
from tests.conftest import Process, ask, pg_variables

Array = npt.NDArray[Any]
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector({dimensions}))"
WORDS = [sys.executable, "-m", "seed", "load"]


def make_table(database: str, dimensions: int = 3) -> None:
    """Create the table items (id, embedding)."""
    ask(database, TABLE.format(dimensions=dimensions))


def start(
    database: str, *options: str, cwd: Path = ROOT, start_new_session: bool = False, **environment: str
) -> Process:
    """Start the command; ``stdout`` has both outputs."""
    settings = {**os.environ, **pg_variables(database), **environment}
    return Process(
        [*WORDS, *options],
        cwd=cwd,
        env=settings,
        stdin=-1,
        stdout=-1,
        stderr=-2,
        text=True,
        start_new_session=start_new_session,
    )


def load(database: str, *options: str, code: int = 0, text: str = "") -> str:
    """Run the command, and return its outputs. Fails if the exit code is another."""
    settings = {**os.environ, **pg_variables(database)}
    done = run_seed("load", *options, environment=settings, stdin=text, merged=True)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def save(path: Path, values: Any) -> str:
    """Write a .npy, and return its name."""
    np.save(path, values)
    return str(path)


def write_parquet(path: Path, ids: Array, values: Array) -> str:
    """Write the columns id and embedding, and return the name of the file."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    pq.write_table(pa.table({"id": ids, "embedding": lists}), path)
    return str(path)


def write_shuffled(folder: Path, values: Array, count: int) -> list[str]:
    """Write the rows, with the ids from 1 and in random order, to so many Parquet files. Returns their names."""
    shuffled = np.array_split(np.random.default_rng(2).permutation(len(values)), count)
    return [write_parquet(folder / f"{number}.parquet", rows + 1, values[rows]) for number, rows in enumerate(shuffled)]


def vectors(count: int, dimensions: int = 3, seed: int = 1) -> Array:
    """Return float32 numbers between -1 and 1."""
    dice = np.random.default_rng(seed)
    return (dice.random((count, dimensions), np.float32) * 2 - 1).astype(np.float32)


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Write JSON Lines, and return the name of the file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Write CSV with a line of names, and return the name of the file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def stored(database: str, table: str = "items") -> dict[int, list[float] | None]:
    """Return id to vector, as the database prints it."""
    rows = ask(database, f"SELECT id, embedding::text FROM {table} ORDER BY id")
    return {id_: None if vector is None else json.loads(vector) for id_, vector in rows}


def same(database: str, expected: Array, first: int = 1) -> bool:
    """Return True if the table has exactly these vectors, bit by bit, with the ids from ``first``."""
    with psycopg.connect(database) as connection:
        statement = "COPY (SELECT id, embedding FROM items ORDER BY id) TO STDOUT (FORMAT binary)"
        with connection.cursor().copy(statement) as stream:
            rows = b"".join(stream)[len(HEADER) : -len(TRAILER)]
    layout = record([("int8", None), ("vector", expected.shape[1])])
    if len(rows) != len(expected) * layout.itemsize:
        return False
    records = np.frombuffer(rows, layout)
    if records["value0"].tolist() != list(range(first, first + len(expected))):
        return False
    return records["value1"].tobytes() == expected.astype(">f4").tobytes()
