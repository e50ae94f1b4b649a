"""A load by two workers of Dask, compared with one by two threads, and with one of the workers killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psycopg

from bench.load import empty_table
from bench.measure import seconds
from bench.scale_shards import is_exact
from local.workspace import ROOT
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.load import load_files
from pgvector_seed.data.summary import Work

ROWS = {128: 1_000_000, 1536: 100_000}  # by dimensions: 8 and 10 parts
KILLED_ROWS, FILES = 200_000, 20  # of 64 dimensions
OPTIONS = LoadOptions("items", number_from=1)


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a module of this Python, and kill it at the end of the block."""
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Yield the address of a scheduler, and its two workers of one thread."""
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    with ExitStack() as stack:
        words = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
        stack.enter_context(running("distributed.cli.dask_scheduler", *words, "--scheduler-file", str(file)))
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        words = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
        workers = [stack.enter_context(running("distributed.cli.dask_worker", *words)) for _ in range(2)]
        wait_until(lambda: workers_of(address) == 2)
        yield address, workers


def workers_of(address: str) -> int:
    """Return the number of a scheduler's workers."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return len(client.nthreads())


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition is true."""
    while not condition():
        time.sleep(0.01)


def rows_in_table() -> int:
    """Return the number of rows."""
    with psycopg.connect() as connection:
        row = connection.execute("SELECT count(*) FROM items").fetchone()
        return row[0] if row else 0


def load_times(folder: Path, count: int, dimensions: int) -> list[tuple[float, float]]:
    """Return the times of loads by ``--jobs 2``, and by two workers that already run."""
    file = folder / f"{dimensions}.npy"
    np.save(file, np.random.default_rng(1).standard_normal((ROWS[dimensions], dimensions), np.float32))
    rounds = []
    with cluster(folder) as (address, _):
        for _ in range(count):
            times = []
            for work in (Work(jobs=2), Work(dask=address)):
                empty_table(dimensions)
                times.append(seconds(partial(load_files, [str(file)], OPTIONS, work=work)))
            rounds.append((times[0], times[1]))
    file.unlink()
    return rounds


def exact_after_kill(folder: Path, number: int) -> bool:
    """Load by two workers, kill one at a random time, and return True if the table then has exactly the vectors."""
    dice = np.random.default_rng(number)
    values = dice.standard_normal((KILLED_ROWS, 64), np.float32)
    names = [str(folder / f"part-{part:02}.npy") for part in range(FILES)]
    for name, part in zip(names, np.array_split(values, FILES), strict=True):
        np.save(name, part)
    empty_table(64)
    words = ["seed", "load", *names, "--table", "items", "--number-from", "1", "--dask"]
    enough = int(dice.integers(KILLED_ROWS * 3 // 4))
    with cluster(folder) as (address, workers), running(*words, address) as loader:
        wait_until(lambda: rows_in_table() > enough or loader.poll() is not None)
        was_running = loader.poll() is None
        workers[int(dice.integers(2))].kill()
        is_loaded = loader.wait() == 0
    return was_running and is_loaded and is_exact(values)


COMPARISONS = [
    ("--jobs 2 / --dask with 2 workers", dimensions, partial(load_times, dimensions=dimensions), 0.85)
    for dimensions in ROWS
]
EXACT = [("kill -9 of one of two Dask workers", exact_after_kill)]
