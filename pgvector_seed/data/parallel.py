"""Load parts of files by several connections at once, each in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.session import Session
from pgvector_seed.data.store import Counts
from pgvector_seed.data.unit import Count, Part, load_part
from pgvector_seed.postgres.interrupt import stop


class _OtherFailedError(Exception):
    """Another thread has failed, and its error is the one to report."""


@dataclass(frozen=True)
class _Worker:
    """Loads a part by a connection of its own, unless a part has failed."""

    options: LoadOptions
    rejects: Rejects
    count: Count
    fresh: bool
    conninfo: str
    failed: Event = field(default_factory=Event)

    def load(self, part: Part) -> None:
        """Load the part. Any error lets the other threads end after their blocks, and is raised."""
        if self.failed.is_set():
            return
        try:
            with Session(self.conninfo) as session:
                load_part(session, part, self.options, self.rejects, self._count, fresh=self.fresh)
        except _OtherFailedError:
            return
        except BaseException:
            self.failed.set()
            raise

    def _count(self, counts: Counts, size: int) -> None:
        self.count(counts, size)
        if self.failed.is_set():
            raise _OtherFailedError


def load_parts(
    parts: Sequence[Part],
    options: LoadOptions,
    rejects: Rejects,
    count: Count,
    *,
    jobs: int,
    fresh: bool,
    conninfo: str,
) -> None:
    """Load the parts by ``jobs`` threads. The first error stops all of them after their blocks, and is raised.

    An interrupt cancels the blocks in progress.
    """
    worker = _Worker(options, rejects, count, fresh, conninfo)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in [pool.submit(worker.load, part) for part in parts]:
                future.result()
        except KeyboardInterrupt:
            worker.failed.set()
            stop()
            raise
