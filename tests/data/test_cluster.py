"""``load --dask``: what a cluster loads, and the faults that it survives. All processes are real."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
from psycopg.conninfo import make_conninfo

from local.workspace import ROOT
from tests.conftest import Process, ask, tries, until
from tests.data.clusters import scheduler, worker
from tests.data.helpers import Array, load, make_table, same, save, start, vectors, write_jsonl, write_parquet
from tests.data.test_load_faults import HAS_ROWS, SLEEPING, SLOW
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

ROWS, DIMENSIONS = 40_000, 32
NUMBERED = ["--table", "items", "--number-from", "1"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler without workers."""
    with scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, list[str]]:
    """Return the vectors in the order of their ids, and the arguments that load them shuffled, from 20 files."""
    folder, values = tmp_path_factory.mktemp("files"), vectors(ROWS, DIMENSIONS)
    shuffled = np.array_split(np.random.default_rng(2).permutation(ROWS), 20)
    parts = [write_parquet(folder / f"{n}.parquet", rows + 1, values[rows]) for n, rows in enumerate(shuffled)]
    return values, [*parts, "--table", "items"]


def test_two_workers_load(
    database: str, address: str, tmp_path: Path, files: tuple[Array, list[str]]
) -> None:
    """The summary names the workers. Bad rows come back to the file of --rejects, or are the error of one process."""
    make_table(database, DIMENSIONS)
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"id": n, "embedding": [n] * (31 + n % 2)} for n in range(3)])
    with worker(address, database, tmp_path), worker(address, database, tmp_path):
        output = load(database, *files[1], "--dask", address)
        assert f"{ROWS:,} rows copied, 0 changed, 0 unchanged" in output
        assert "rows/s, by 2 workers" in output
        assert same(database, files[0])
        document = json.loads(load(database, *files[1], "--dask", address, "--shard", "1/2", "--json"))
        assert (document["unchanged"], document["workers"]) == (ROWS / 2, 2)
        output = load(database, bad, "--table", "items", "--dask", address, code=2)
        assert output == f"error: {bad}, row 1: it has 31 dimensions, and public.items.embedding has 32" + output[-0:]
        load(database, bad, "--table", "items", "--dask", address, "--rejects", str(tmp_path / "rejects"), code=1)
        rejected = [json.loads(line)["rejected"] for line in (tmp_path / "rejects").read_text().splitlines()]
        assert [(reject["file"], reject["row"]) for reject in rejected] == [(bad, 1), (bad, 3)]
