"""Check that a worker of a cluster has this version, reaches the same table, and reads the same file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.common.text import os_error
from pgvector_seed.common.version import VERSION
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.objects import is_remote
from pgvector_seed.data.refuse import refuse_unloadable
from pgvector_seed.data.session import Session
from pgvector_seed.data.sources import opened
from pgvector_seed.data.target import Target, find_target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

# A copy of a server has the same oids, but was not started in the same microsecond.
_PLACE = """
SELECT extract(epoch FROM pg_postmaster_start_time())::text, oid FROM pg_database WHERE datname = current_database()
"""
_SHARED = "All workers must read the file by this name: a path on a shared disk, or s3://BUCKET/KEY."
_SAME_SERVER = "Start the worker with this load's PG* variables. If the server was restarted, run the command again."

Place = tuple[str, int, int]


@dataclass(frozen=True)
class Job:
    """One run of a load, as each worker gets it. It has no secret.

    ``id`` is unique. ``place`` is from ``place_of``. If ``gathers``, bad rows are returned; otherwise the first one is
    an error.
    """

    id: str
    options: LoadOptions
    place: Place
    fresh: bool
    gathers: bool
    version: str = VERSION


@dataclass(frozen=True)
class Task:
    """A part to load, and the size of its file in bytes; None for an object store."""

    unit: Unit
    bytes: int | None


def task_of(unit: Unit) -> Task:
    """Return the task for a part, with the size of its file."""
    return Task(unit, _size(unit.file))


def place_of(connection: Connection, target: Target) -> Place:
    """Return the start of the server and the oids of database and table. No copy of the server has the same."""
    started, database = query_catalog(connection, _PLACE)[0]
    return started, database, target.oid


@contextmanager
def naming_worker(name: str, kind: type[Error]) -> Iterator[None]:
    """Add the worker's name to errors of this kind. Raises InputError for an OSError, which is of a file."""
    try:
        yield
    except kind as error:
        raise type(error)(f"worker {name}: {error.message}", error.remedy) from error
    except OSError as error:
        raise InputError(f"worker {name}: a file cannot be read: {os_error(error)}", _SHARED) from error


def check_job(job: Job, task: Task, session: Session) -> None:
    """Raise InputError unless the version, the server, the table and the file are those of the load."""
    if job.version != VERSION:
        raise InputError(
            f"pgvector_seed has version {VERSION} there, and {job.version} here",
            "Install the same version everywhere, and start that worker again.",
        )
    target = session.run(lambda connection, _: find_target(connection, job.options.table, job.options.vector))
    if session.run(lambda connection, _: place_of(connection, target)) != job.place:
        info = session.connection.info
        where = f"the database {info.dbname} at {info.host}, port {info.port}"
        raise InputError(f"it reaches another server or table: {target.shown} in {where}", _SAME_SERVER)
    session.run(lambda connection, _: refuse_unloadable(connection, target))
    check_file(task)
    with opened(task.unit.file) as stream:
        stream.read(1)


def check_file(task: Task) -> None:
    """Raise InputError if the task's file has another size on this machine."""
    size = _size(task.unit.file)
    if size != task.bytes:
        raise InputError(f"{task.unit.file} is another file there: {size} bytes, and {task.bytes} here", _SHARED)


def _size(file: str) -> int | None:
    return None if is_remote(file) else Path(file).stat().st_size
