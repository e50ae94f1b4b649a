"""The memory of a load does not grow with its file."""

from __future__ import annotations

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
from tests.conftest import pg_variables
from tests.data.helpers import Array, make_table, save, vectors

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
