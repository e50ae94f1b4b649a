"""Load parts of files by the workers of a Dask cluster. Needs the extra dask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeAlias
from uuid import uuid4

from distributed import Client, KilledWorker

from pgvector_seed.common.errors import Error, InputError, WrongResultError
from pgvector_seed.common.text import counted
from pgvector_seed.common.version import VERSION
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.dask_client import connected, lost_scheduler
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.objects import is_remote
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.session import AGAIN, Session
from pgvector_seed.data.summary import Tally, Work
from pgvector_seed.data.target import Target
from pgvector_seed.data.task import PartResult, check_worker, end_job, load_on_worker
from pgvector_seed.data.unit import Part
from pgvector_seed.data.worker_checks import Job, Task, place_of, task_of

_VERSION = "pgvector_seed.common.version:VERSION"
_RETRIES = 3  # of a part after an error; Dask counts deaths of its worker apart
_POLL_SECONDS = 5.0
_SHOWN = 5  # of the parts that killed their workers
_NO_WORKER = "Dask had no worker for a time: the load waits until one joins"

_Futures: TypeAlias = dict[Future[PartResult], Task]


def load_by_dask(
    session: Session,
    target: Target,
    parts: Sequence[Part],
    options: LoadOptions,
    work: Work,
    rejects: Rejects,
    tally: Tally,
    *,
    fresh: bool,
) -> None:
    """Load parts of files by the workers of a cluster. Returns when all are loaded.

    Raises InputError if the cluster cannot be used or a row is bad, UnreachableError if a worker cannot reach the
    database, and WrongResultError if the scheduler was lost. An error or an interrupt ends the load of all parts.
    Parts that killed each of their workers do not: WrongResultError names them after the others are loaded.
    """
    assert work.dask is not None
    place = session.run(lambda connection, _: place_of(connection, target))
    options = replace(options, ids=options.ids and _absolute(options.ids))
    job = Job(uuid4().hex, options, place, fresh, work.rejects is not None)
    tasks = [task_of(replace(part.unit, file=_absolute(part.unit.file))) for part in parts if part.unit is not None]
    with connected(work.dask, work.jobs) as client:
        _refuse_versions(client)
        if tasks:
            _check_workers(client, job, tasks[0])
            _Run(client, job, rejects, tally).load(tasks)


def _absolute(file: str) -> str:
    """Return the absolute name of a file: workers may have been started in another folder."""
    return file if is_remote(file) else str(Path(file).absolute())


def _refuse_versions(client: Client) -> None:
    """Raise InputError if the scheduler or a worker has another version of this package, or none.

    No other code of this package runs there before.
    """
    versions = client.run(resolve_name, _VERSION, on_error="return")
    versions = {f"worker {name}": version for name, version in versions.items()}
    try:
        versions["the scheduler"] = client.run_on_scheduler(resolve_name, _VERSION)
    except (ImportError, AttributeError) as error:
        versions["the scheduler"] = error
    for name, version in versions.items():
        if version != VERSION and not isinstance(version, OSError):  # a worker that has ended
            has = f"pgvector_seed {version}" if isinstance(version, str) else "no pgvector_seed"
            raise InputError(
                f"{name} has {has}, and this is {VERSION}",
                "Install the same wheel here, for the scheduler and for each worker, and start them again.",
            )


def _check_workers(client: Client, job: Job, task: Task) -> None:
    """Raise the error of the first worker that cannot reach the table or read the file of the task."""
    for name, error in client.run(check_worker, job, task, on_error="return").items():
        if isinstance(error, Exception) and not isinstance(error, OSError):  # a worker that has ended
            raise error if isinstance(error, Error) else WrongResultError(f"worker {name}: {error!r}")


@dataclass(frozen=True)
class _Run:
    """One load: submits the tasks, counts their results, and ends them all after an error."""

    client: Client
    job: Job
    rejects: Rejects
    tally: Tally

    def load(self, tasks: Sequence[Task]) -> None:
        """Return when all tasks are done. Raises as ``load_by_dask``."""
        # Dask blames all tasks of a worker that died, also those that waited: each is tried once more, by itself.
        deadly = [task.unit for task in self._load(tasks) if self._load([task])]
        if deadly:
            raise _workers_killed(deadly)

    def _load(self, tasks: Sequence[Task]) -> list[Task]:
        """Submit the tasks, wait for all, and return those whose workers always died."""
        executor = self.client.get_executor(retries=_RETRIES, pure=False)  # pure would return an earlier run's results
        futures: _Futures = {}
        blamed: list[Task] = []
        try:
            futures.update((executor.submit(load_on_worker, self.job, task), task) for task in tasks)
            for future in self._completed(futures):
                task = futures.pop(future)
                if isinstance(future.exception(), KilledWorker):
                    blamed.append(task)
                else:
                    self._count(_result(future, task))
        except BaseException:
            if self.client.status == "running":
                executor.shutdown(wait=False)
                self.client.run(end_job, self.job.id, on_error="ignore")
            raise
        return blamed

    def _completed(self, futures: _Futures) -> Iterator[Future[PartResult]]:
        """Yield each future once it is done. Raises WrongResultError if the scheduler was lost."""
        while futures:
            with suppress(TimeoutError):
                for future in as_completed(list(futures), timeout=_POLL_SECONDS):
                    if future.cancelled():
                        raise lost_scheduler()
                    yield future
            if self.client.status != "running":
                raise lost_scheduler()
            if futures and not self.client.nthreads() and _NO_WORKER not in self.tally.loaded.notes:
                self.tally.note([_NO_WORKER])

    def _count(self, result: PartResult) -> None:
        for line in result.rejected:
            self.rejects.write(line)
        self.tally.loaded.workers = max(1, len(self.client.nthreads()))  # the worker may have ended since
        self.tally.count(result.counts, result.size)
        if result.error is not None:
            raise result.error


def _result(future: Future[PartResult], task: Task) -> PartResult:
    """Return the result of a part. Raises the worker's Error, and WrongResultError for any other exception."""
    error = future.exception()
    if error is None or isinstance(error, Error):
        return future.result()
    message = f"{task.unit.file}: a worker failed: {type(error).__name__}: {error}"
    raise WrongResultError(message, f"The worker's log has more. {AGAIN}") from error


def _workers_killed(units: Sequence[Unit]) -> WrongResultError:
    names = [unit.file if unit.stop is None else f"{unit.file}, rows {unit.start + 1} to {unit.stop}" for unit in units]
    shown = "; ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
    return WrongResultError(
        f"{counted(len(units), 'part')} of the files ended each worker that loaded it: {shown}",
        "The others are loaded. The workers' logs say why they ended; it may be their memory. " + AGAIN,
    )
