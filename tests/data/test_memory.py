"""The memory of a load does not grow with its file."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.workspace import ROOT
from tests.conftest import ask, pg_variables
from tests.data.helpers import Array, make_table, save, vectors
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

LIMIT = 256 << 20
ROWS, DIMENSIONS = 600_000, 128  # 307 MB
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
)
IMPORTS = [sys.executable, "-c", "import pyarrow.parquet, seed.load.command"]


def peak(words: list[str], **settings: str) -> int:
    """Return the largest resident memory of a command in bytes."""
    words = [sys.executable, "-c", PEAK, *words]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **settings}, check=True, stdout=-1, text=True)
    return int(done.stdout)


def with_text(path: Path) -> str:
    """Write 400 MB of text beside few vectors, as one row group."""
    rows, text = 20_000, "x" * 20_000
    columns = {
        "id": np.arange(rows),
        "embedding": pa.FixedSizeListArray.from_arrays(vectors(rows, 4).ravel(), 4),
        "title": [text] * rows,
        "about": ['{"a": [1, 2, 3]}'] * rows,
    }
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return str(path)


def repeated(path: Path, lines: str, times: int, head: str = "") -> str:
    """Write lines again and again, each time as a compressed file of its own: one may follow another."""
    suffix = path.suffix.removeprefix(".")
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
    }
    compress = compressors.get(suffix, bytes)
    part = compress(lines.encode())
    with path.open("wb") as file:
        file.write(compress(head.encode()) if head else b"")
        for _ in range(times):
            file.write(part)
    return str(path)


def one_row_group(path: Path, values: Array) -> str:
    lists = pa.FixedSizeListArray.from_arrays(values.ravel(), DIMENSIONS)
    table = pa.table({"id": np.arange(len(values)), "embedding": lists})
    pq.write_table(table, path, row_group_size=len(values), compression="none")
    return str(path)


@pytest.mark.rest
@pytest.mark.parametrize(
    ("name", "write"),
    [("v.npy", save), ("f.npy", lambda path, v: save(path, np.asfortranarray(v))), ("v.parquet", one_row_group)],
)
def test_a_large_file_needs_little_memory(
    database: str, tmp_path: Path, name: str, write: Callable[[Path, Array], str]
) -> None:
    """Also if it is one row group, or its columns are not in the order of the rows."""
    make_table(database, DIMENSIONS)
    file = write(tmp_path / name, vectors(ROWS, DIMENSIONS))
    numbers = [] if name.endswith(".parquet") else ["--number-from", "1"]
    words = [sys.executable, "-m", "seed", "load", file, "--table", "items", "--dry-run", *numbers]
    assert peak(words, **pg_variables(database)) - peak(IMPORTS) < LIMIT


@pytest.mark.rest
@pytest.mark.parametrize("name", ["v.jsonl.gz", "v.csv.zst"])
def test_a_text_of_any_size_needs_little_memory(database: str, tmp_path: Path, name: str) -> None:
    """A load of 400 MB of lines, half of it text and half vectors; all rows are in the table."""
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(64), title text, about jsonb)")
    rows, times, about = 2_500, 32, {"a": list(range(20))}
    text = "t" * 4_000
    lists = np.round(vectors(rows, 64), 6).tolist()
    if ".csv" in name:
        cells = json.dumps(about).replace('"', '""')
        lines, head = "".join(f'"{row}",{text},"{cells}"\n' for row in lists), "embedding,title,about\n"
    else:
        lines, head = "".join(json.dumps({"embedding": row, "title": text, "about": about}) + "\n" for row in lists), ""
    file = repeated(tmp_path / name, lines, times, head)
    assert len(lines) * times > 1.5 * LIMIT
    words = [sys.executable, "-m", "seed", "load", file, "--table", "items", "--number-from", "1"]
    assert peak(words, **pg_variables(database)) - peak(IMPORTS) < LIMIT
    assert ask(database, "SELECT count(*) FROM items") == [(rows * times,)]


@pytest.mark.rest
def test_parquet_with_large_texts_needs_little_memory(database: str, tmp_path: Path) -> None:
    """Regression: a block had as many rows as its vectors allow, whatever the size of the other columns."""
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(4), title text, about jsonb)")
    words = [sys.executable, "-m", "seed", "load", with_text(tmp_path / "v.parquet"), "--table", "items"]
    assert peak(words, **pg_variables(database)) - peak(IMPORTS) < LIMIT
    assert ask(database, "SELECT count(*), min(length(title)) FROM items") == [(20_000, 20_000)]
