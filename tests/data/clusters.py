"""A Dask scheduler and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.workspace import ROOT
from tests.conftest import Process, pg_variables, until

# A part is blamed after two deaths of its worker, not four: each new worker takes two seconds.
FEW_DEATHS = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, Process]]:
    """Yield the address of a scheduler, and its process, which is killed afterwards."""
    file = folder / f"scheduler-{os.urandom(4).hex()}.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    words += ["--scheduler-file", str(file)]
    with _running("scheduler", words, folder / "scheduler.log", ROOT, FEW_DEATHS) as process:
        until(lambda: file.exists() and file.read_text().endswith("}"))
        yield json.loads(file.read_text())["address"], process


@contextmanager
def worker(
    address: str, database: str, folder: Path, *words: str, cwd: Path = ROOT, **environment: str
) -> Iterator[Process]:
    """Yield a worker with one thread, registered at the scheduler, which reaches this database. Kills it afterwards."""
    log = folder / f"worker-{os.urandom(4).hex()}.log"
    words = (address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder), *words)
    if "--nanny" not in words:
        words = (*words, "--no-nanny")
    with _running("worker", words, log, cwd, {**pg_variables(database), **environment}) as process:
        until(lambda: "Registered to" in log.read_text() or process.poll() is not None)
        yield process


@contextmanager
def _running(kind: str, words: Sequence[str], log: Path, cwd: Path, environment: dict[str, str]) -> Iterator[Process]:
    command = [sys.executable, "-m", "distributed.cli.dask_" + kind, *words]
    with log.open("w") as output:
        process = Process(command, cwd=cwd, env={**os.environ, **environment}, stdout=output, stderr=-2, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()
