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
class Outcome:
    """What was done with a part. ``rejected`` are lines for the rejects' file. ``error`` ends the load."""

    counts: Counts = field(default_factory=Counts)
    size: int = 0
    rejected: list[bytes] = field(default_factory=list)
    error: Error | None = None


# Of this process, by the job's id.
_sessions: dict[str, set[Session]] = {}
_checked: set[str] = set()
_ended: set[str] = set()


def load_on_worker(job: Job, task: Task) -> Outcome:
    """Load a part by a connection that this worker's own environment describes. It may run twice.

    Raises UnreachableError, which the scheduler has another worker try again.
    """
    outcome = Outcome()
    rejects = GatheredRejects() if job.gathers else Rejects(None)

    def count(counts: Counts, size: int) -> None:
        outcome.counts += counts
        outcome.size += size
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
        outcome.error = error
    outcome.rejected = rejects.lines if isinstance(rejects, GatheredRejects) else []
    return outcome


async def check_worker(job: Job, task: Task, *, dask_worker: Worker) -> None:
    """Raise the error that a part would meet on this worker: it reaches another table, or not the file."""

    def check() -> None:
        with naming_worker(dask_worker.address, Error), Session() as session:
            check_job(job, task, session)

    await asyncio.to_thread(check)  # the worker's own loop has to go on


async def end_job(id_: str) -> None:
    """Cancel the job's statements on this worker, let no part of it begin, and return when none is loaded any more."""
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
