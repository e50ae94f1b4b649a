"""Shards of a load at once, one of them killed; and the start of `load`, compared with an earlier version."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psycopg

from bench.load import empty_table
from local.workspace import ROOT
from pgvector_seed.vectors.frames import HEADER, TRAILER, record

SHARDS, AT_ONCE, ROWS, DIMENSIONS = 16, 4, 192_000, 128  # each shard has one part, of two blocks
LOAD = [sys.executable, "-m", "seed", "load"]
START = "start of load without Dask in the code / ours, CPU"


def exact_after_kill(folder: Path, number: int) -> bool:
    """Load by all shards, kill one of them after its first block, and start it again.

    Returns True if it was killed before its end, and the table then has exactly the vectors.
    """
    values = _written(folder)
    empty_table(DIMENSIONS)
    victim = random.Random(number).randrange(SHARDS)  # noqa: S311  # no secret
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = list(pool.map(partial(_load, folder, victim=victim), range(SHARDS)))
    expected = [-9 if shard == victim else 0 for shard in range(SHARDS)]
    return codes == expected and _load(folder, victim) == 0 and is_exact(values)


def _written(folder: Path) -> np.ndarray:
    """Return the vectors, which are in a file for each shard. Writes the files once."""
    values = np.random.default_rng(1).standard_normal((ROWS, DIMENSIONS), np.float32)
    if not (folder / "shard-00.npy").exists():
        for shard, part in enumerate(np.split(values, SHARDS)):
            np.save(folder / f"shard-{shard:02}.npy", part)
    return values


def _load(folder: Path, shard: int, victim: int | None = None) -> int:
    """Run one shard, and return its exit code; kill it if it is the victim."""
    words = [str(folder / "shard-*.npy"), "--table", "items", "--number-from", "1", "--shard", f"{shard}/{SHARDS}"]
    with subprocess.Popen([*LOAD, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        if shard == victim:
            _wait_for_row(shard * ROWS // SHARDS + 1, process)
            process.kill()
    return process.returncode


def _wait_for_row(id_: int, process: subprocess.Popen[bytes]) -> None:
    """Return once the row exists or the process has ended."""
    with psycopg.connect(autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM items WHERE id = %s", (id_,)).fetchone() and process.poll() is None:
            time.sleep(0.001)


def is_exact(values: np.ndarray) -> bool:
    """Return True if the table has exactly these vectors, bit by bit, with the ids from 1."""
    layout = record([("int8", None), ("vector", values.shape[1])])
    statement = "COPY (SELECT id, embedding FROM items ORDER BY id) TO STDOUT (FORMAT binary)"
    with psycopg.connect() as connection, connection.cursor().copy(statement) as stream:
        rows = b"".join(stream)[len(HEADER) : -len(TRAILER)]
    if len(rows) != len(values) * layout.itemsize:
        return False
    records = np.frombuffer(rows, layout)
    ids_are_right = bool((records["value0"] == np.arange(1, len(values) + 1)).all())
    return ids_are_right and records["value1"].tobytes() == values.astype(">f4").tobytes()


def start_times(folder: Path, count: int, before: Path) -> list[tuple[float, float]]:
    """Return the CPU seconds of `load --dry-run` of one row by an earlier checkout, and by this one, in turn."""
    empty_table(DIMENSIONS)
    file = folder / "row.npy"
    np.save(file, np.ones((1, DIMENSIONS), np.float32))
    words = ["-m", "seed", "load", str(file), "--table", "items", "--number-from", "1", "--dry-run"]
    earlier, ours = ([sys.executable, *words], before), ([sys.executable, *words], ROOT)
    return [(_cpu_seconds(*earlier), _cpu_seconds(*ours)) for _ in range(count + 1)][1:]  # the first one compiles


def _cpu_seconds(words: list[str], cwd: Path) -> float:
    """Run a command, and return the CPU seconds of its process. Raises CalledProcessError if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(words, cwd=cwd, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return usage.ru_utime + usage.ru_stime


EXACT = [(f"{SHARDS} shards by {AT_ONCE} processes at once, one killed and started again", exact_after_kill)]
