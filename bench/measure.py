"""The server, the clock and the printed comparison of the benchmarks."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local.server import Server


@contextmanager
def own_server() -> Iterator[Path]:
    """Start a server, set its address in os.environ, and yield a temporary folder; remove both afterwards."""
    folder = Path(tempfile.mkdtemp())
    server = Server(folder / "server", 18)
    try:
        server.start()
        os.environ.update(server.environment)
        yield folder
    finally:
        home = server.home
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one run in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(label: str, rounds: list[tuple[float, float]], other: str = "") -> None:
    """Print the medians of both columns and the worst of the first, in seconds, and the ratios first to second."""
    ratios = sorted(first / second for first, second in rounds)
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    worst = max(first for first, _ in rounds)
    print(
        f"{label:28}  {medians[0]:.4f} s (worst {worst:.4f}) against {other}{medians[1]:.4f} s, "
        f"ratio {ratios[0]:.2f} to {ratios[-1]:.2f}, median {statistics.median(ratios):.2f}"
    )
