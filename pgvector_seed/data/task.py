"""Load a part of a file on a worker of a cluster. ``cluster`` has the workers call these functions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from distributed import Worker, get_worker

from pgvector_seed.common.errors import Error, InterruptError, UnreachableError
from pgvector_seed.data.rejects import GatheredRejects, Rejects
from pgvector_seed.data.session import Session
from pgvector_seed.data.store import Counts
from pgvector_seed.data.unit import load_part, part_of_file
from pgvector_seed.data.worker_checks import Job, Task, check_file, check_job, naming_worker

_CANCEL_SECONDS = 0.2  # repeated: a request between two statements has no effect


@dataclass
class PartResult:
    """The result of a part, of ``size`` bytes. ``rejected`` are lines for the file of rejects.

    ``error`` ends the load.
    """

    counts: Counts = field(default_factory=Counts)
    size: int = 0
    rejected: list[bytes] = field(default_factory=list)
    error: Error | None = None


# The state of this process, by the job's id.
_sessions: dict[str, set[Session]] = {}
_checked: set[str] = set()
_ended: set[str] = set()


def load_on_worker(job: Job, task: Task) -> PartResult:
    """Load a part by a connection that this worker's own environment describes. A part may be loaded twice.

    Raises UnreachableError, after which the scheduler has the part tried again. Other errors are in the result.
    """
    result = PartResult()
    rejects = GatheredRejects() if job.gathers else Rejects(None)

    def count(counts: Counts, size: int) -> None:
        result.counts += counts
        result.size += size
        if job.id in _ended:
            raise InterruptError

    try:
        with ExitStack() as stack:
            name = get_worker().address
            with naming_worker(name, Error):
                session = stack.enter_context(Session())
                stack.enter_context(_ended_by_job(job, session))
                if job.id not in _checked:
                    check_job(job, task, session)
                check_file(task)
            _checked.add(job.id)
            with naming_worker(name, UnreachableError):
                load_part(session, part_of_file(task.unit, job.options), job.options, rejects, count, fresh=job.fresh)
    except UnreachableError:
        raise
    except Error as error:
        result.error = error
    result.rejected = rejects.lines if isinstance(rejects, GatheredRejects) else []
    return result


async def check_worker(job: Job, task: Task, *, dask_worker: Worker) -> None:
    """Raise Error if a part could not be loaded on this worker. Raises as ``check_job``, with the worker's name."""

    def check() -> None:
        with naming_worker(dask_worker.address, Error), Session() as session:
            check_job(job, task, session)

    await asyncio.to_thread(check)  # keeps the worker's event loop free


async def end_job(id_: str) -> None:
    """Cancel the job's statements on this worker, and refuse its further parts. Returns when no part is loaded."""
    _ended.add(id_)
    while _sessions.get(id_):
        await asyncio.to_thread(_cancel, id_)
        await asyncio.sleep(_CANCEL_SECONDS)


def _cancel(id_: str) -> None:
    for session in tuple(_sessions.get(id_, ())):
        with suppress(psycopg.Error):
            session.connection.cancel_safe()


@contextmanager
def _ended_by_job(job: Job, session: Session) -> Iterator[None]:
    """Let ``end_job`` cancel the session's statements in the block, which then raises InterruptError."""
    sessions = _sessions.setdefault(job.id, set())
    sessions.add(session)
    try:
        if job.id in _ended:
            raise InterruptError
        yield
    except Error as error:
        if job.id in _ended:
            raise InterruptError from error
        raise
    finally:
        sessions.discard(session)
