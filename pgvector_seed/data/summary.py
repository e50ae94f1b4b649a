"""The extent of a load, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from pgvector_seed.data.store import Counts

LOCAL = "local"  # stands for a Dask cluster on this machine


@dataclass(frozen=True)
class Work:
    """How much is done, and by how many. ``jobs`` is the number of connections.

    ``shard`` is (I, N): every Nth part, from the Ith, which counts from 0. ``rejects`` is the file for bad rows;
    without it the first one is an error. ``dry_run`` reads and checks only. ``dask`` is the address of a scheduler,
    whose workers load, or LOCAL for ``jobs`` worker processes on this machine.
    """

    jobs: int = 1
    shard: tuple[int, int] = (0, 1)
    rejects: str | None = None
    dry_run: bool = False
    dask: str | None = None


@dataclass
class Loaded:
    """The state of a load, and its result.

    ``expected`` is the number of rows if it is known, ``bytes`` the size of the values that were sent or compared.
    ``seconds`` are wall time, ``cpu_seconds`` those of this process. ``notes`` are sentences for the user.
    ``is_declared`` is True if the contract has the table, ``unbuilt`` has its declared indexes that are missing.
    ``workers`` is the number of Dask's workers at the last part, 0 without Dask.
    """

    table: str = ""
    counts: Counts = field(default_factory=Counts)
    expected: int | None = None
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rejected: int = 0
    notes: list[str] = field(default_factory=list)
    is_declared: bool = False
    unbuilt: list[str] = field(default_factory=list)
    workers: int = 0

    @property
    def rows(self) -> int:
        """The rows that are in the table, or in a dry run the good rows of the files."""
        counts = self.counts
        return counts.copied + counts.changed + counts.unchanged + counts.checked


class Tally:
    """Keeps a ``Loaded`` up to date, also from several threads, and reports it after each block and each early note."""

    def __init__(self, report: Callable[[Loaded], None]) -> None:
        self.loaded = Loaded()
        self._report = report
        self._lock = Lock()
        self._started, self._cpu_started = time.monotonic(), time.process_time()

    def count(self, counts: Counts, size: int) -> None:
        """Add a block's counts, and its size in bytes."""
        with self._lock:
            self.loaded.counts += counts
            self.loaded.bytes += size
            self.stop_clock()
            self._report(self.loaded)

    def note(self, notes: Sequence[str]) -> None:
        """Add notes, and report them at once."""
        self.loaded.notes += notes
        if notes:
            self._report(self.loaded)

    def stop_clock(self) -> None:
        """Set the times."""
        self.loaded.seconds = time.monotonic() - self._started
        self.loaded.cpu_seconds = time.process_time() - self._cpu_started
