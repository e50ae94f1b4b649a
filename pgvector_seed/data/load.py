"""Load files of vectors into a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock

from psycopg import sql

from pgvector_seed.common.errors import InputError, InterruptError
from pgvector_seed.common.text import os_error
from pgvector_seed.data.bind import Options, bind, generates, offsets
from pgvector_seed.data.finish import finish
from pgvector_seed.data.formats import Unit, expand, format_of
from pgvector_seed.data.parallel import load_parts
from pgvector_seed.data.prepare import Binding
from pgvector_seed.data.refuse import refuse_unloadable, vector_indexes
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.session import Session, refusals
from pgvector_seed.data.store import Counts, copy
from pgvector_seed.data.target import Target, find_target
from pgvector_seed.data.unit import Count, load_part, read_rows
from pgvector_seed.postgres.connection import Connection

_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
_LOCK = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"


@dataclass
class Loaded:
    """The state of a load, and its result. ``seconds`` are wall time, ``cpu_seconds`` those of this process."""

    table: str = ""
    counts: Counts = field(default_factory=Counts)
    expected: int | None = None  # rows, if the files tell
    bytes: int = 0  # sent, or compared
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rejected: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The rows that are in the table."""
        return self.counts.copied + self.counts.changed + self.counts.unchanged


@dataclass(frozen=True)
class Work:
    """How much is done, and by how many. ``jobs`` is the number of connections.

    ``shard`` is (I, N): every Nth part of the files, from the Ith, which counts from 0. ``rejects`` is the file for bad
    rows; without it the first one is an error. ``dry_run`` reads and checks only.
    """

    jobs: int = 1
    shard: tuple[int, int] = (0, 1)
    rejects: str | None = None
    dry_run: bool = False


Report = Callable[[Loaded], None]


def load_files(
    files: Sequence[str],
    options: Options,
    report: Report = lambda _loaded: None,
    *,
    work: Work = Work(),  # it is frozen
    conninfo: str = "",
) -> Loaded:
    """Load the files, in this order, and report after each block.

    Raises InputError for a bad row or file, WrongResultError if the table has other values or the server refuses a
    row, UnreachableError, and InterruptError. What was committed before stays.
    """
    loaded = Loaded()
    started, cpu_started, lock = time.monotonic(), time.process_time(), Lock()

    def count(counts: Counts, size: int) -> None:
        with lock:
            loaded.counts += counts
            loaded.bytes += size
            loaded.seconds, loaded.cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
            report(loaded)

    try:
        with Session(conninfo) as session, Rejects(work.rejects) as rejects:
            _load(session, files, options, work, loaded, count, rejects)
            loaded.rejected = rejects.count
    except (KeyboardInterrupt, InterruptError) as error:
        raise InterruptError(f"{loaded.rows:,} rows are in the table") from error
    except OSError as error:
        raise InputError(f"a file cannot be read: {os_error(error)}") from error
    loaded.seconds, loaded.cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    return loaded


def _load(
    session: Session,
    files: Sequence[str],
    options: Options,
    work: Work,
    loaded: Loaded,
    count: Count,
    rejects: Rejects,
) -> None:
    target = session.run(lambda connection, _: _checked_target(connection, options))
    loaded.table = target.shown
    loaded.notes += vector_indexes(session.connection, target)
    units = offsets(list(chain.from_iterable(format_of(file).units(file) for file in expand(files))), options)
    bindings = [bind(unit, target, options) for unit in units]
    _refuse_other_count(options, bindings, _rows(units))
    is_generated = any(map(generates, bindings))
    if is_generated and (work.jobs > 1 or work.shard != (0, 1)):
        raise InputError("the database generates the keys, so the load is one transaction", "No --jobs, no --shard.")
    units = units[work.shard[0] :: work.shard[1]]
    loaded.expected = _rows(units)
    if work.dry_run:
        for unit in units:
            for rows, faults in read_rows(unit, bind(unit, target, options), options):
                rejects.add(faults)
                count(Counts(unchanged=len(rows)), 0)
        return
    if is_generated:
        _load_generated(session.connection, target, units, options, rejects, count)
    else:
        fresh = session.run(lambda connection, _: _is_empty(connection, target))
        if work.jobs > 1:
            load_parts(units, options, rejects, count, jobs=work.jobs, fresh=fresh, conninfo=session.conninfo)
        else:
            for unit in units:
                load_part(session, unit, options, rejects, count, fresh=fresh)
    loaded.notes += session.run(lambda connection, _: list(finish(connection, target)))


def _checked_target(connection: Connection, options: Options) -> Target:
    target = find_target(connection, options.table, options.vector)
    refuse_unloadable(connection, target)
    return target


def _rows(units: Sequence[Unit]) -> int | None:
    """Return the number of rows in the parts, or None if only reading tells it."""
    sizes = [unit.stop - unit.start for unit in units if unit.stop is not None]
    return sum(sizes) if len(sizes) == len(units) else None


def _load_generated(
    connection: Connection, target: Target, units: Sequence[Unit], options: Options, rejects: Rejects, count: Count
) -> None:
    """Copy everything in one transaction into the empty table: without keys, a second run could not see the first."""
    done: list[tuple[Counts, int]] = []
    with refusals(), connection.transaction():
        connection.execute(sql.SQL(_LOCK).format(table=target.sql_name))
        if not _is_empty(connection, target):
            raise InputError(
                f"{target.shown} has rows, and the files have no keys: a second load would double them",
                "Give the keys: a column, --ids FILE.npy, or --number-from 1",
            )
        for unit in units:
            for rows, faults in read_rows(unit, bind(unit, target, options), options):
                rejects.add(faults)
                done.append((copy(connection, target, rows), rows.size))
    for counts, size in done:
        count(counts, size)


def _is_empty(connection: Connection, target: Target) -> bool:
    return connection.execute(sql.SQL(_IS_EMPTY).format(table=target.sql_name)).fetchone() == (True,)


def _refuse_other_count(options: Options, bindings: Sequence[Binding], rows: int | None) -> None:
    for binding in bindings[:1]:
        if binding.ids is not None and rows is not None and len(binding.ids) != rows:
            raise InputError(f"{options.ids} has {len(binding.ids):,} keys, and the files have {rows:,} rows")
