"""Load parts of files by several connections at once, each in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.session import Session
from pgvector_seed.data.store import Counts
from pgvector_seed.data.unit import Count, Part, load_part
from pgvector_seed.postgres.interrupt import stop


class _OtherFailedError(Exception):
    """Another thread has failed, and its error is the one to report."""


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
    failed = Event()

    def count_if_right(counts: Counts, size: int) -> None:
        count(counts, size)
        if failed.is_set():
            raise _OtherFailedError

    def work(part: Part) -> None:
        if failed.is_set():
            return
        try:
            with Session(conninfo) as session:
                load_part(session, part, options, rejects, count_if_right, fresh=fresh)
        except _OtherFailedError:
            return
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in [pool.submit(work, part) for part in parts]:
                future.result()
        except KeyboardInterrupt:
            failed.set()
            stop()
            raise
