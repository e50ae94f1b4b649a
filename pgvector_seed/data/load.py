"""Load files of vectors into a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import InputError, InterruptError, UnreachableError, WrongResultError
from pgvector_seed.common.text import os_error
from pgvector_seed.data.bind import Options, bind, generates, offsets, vector_name
from pgvector_seed.data.finish import finish, flush
from pgvector_seed.data.formats import Unit, expand, format_of
from pgvector_seed.data.prepare import Binding, prepare
from pgvector_seed.data.refuse import refuse_unloadable, vector_indexes
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.store import Counts, copy, store
from pgvector_seed.data.target import Target, find_target
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line
from pgvector_seed.postgres.interrupt import ending_with_client

_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
_LOCK = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
_AGAIN = "Run the same command again: what is loaded is left as it is."


@dataclass
class Loaded:
    """The state of a load, and its result. ``seconds`` are wall time, ``cpu_seconds`` those of this process."""

    table: str = ""
    counts: Counts = field(default_factory=Counts)
    expected: int | None = None  # rows, if the files tell
    bytes: int = 0  # sent, or compared
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The rows that are in the table."""
        return self.counts.copied + self.counts.changed + self.counts.unchanged


Report = Callable[[Loaded], None]


def load_files(
    files: Sequence[str],
    options: Options,
    report: Report = lambda _loaded: None,
    *,
    dry_run: bool = False,
    conninfo: str = "",
) -> Loaded:
    """Load the files, in this order, and report after each block. ``dry_run`` reads and checks them only.

    Raises InputError for a bad row or file, WrongResultError if the table has other values or the server refuses a
    row, UnreachableError, and InterruptError. What was committed before stays.
    """
    loaded = Loaded()
    started, cpu_started = time.monotonic(), time.process_time()

    def count(counts: Counts, size: int) -> None:
        loaded.counts += counts
        loaded.bytes += size
        loaded.seconds, loaded.cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
        report(loaded)

    try:
        with connect(conninfo) as connection:
            _load(connection, files, options, loaded, count, dry_run=dry_run)
    except (KeyboardInterrupt, InterruptError) as error:
        raise InterruptError(f"{loaded.rows:,} rows are in the table") from error
    except OSError as error:
        raise InputError(f"a file cannot be read: {os_error(error)}") from error
    loaded.seconds, loaded.cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    return loaded


Count = Callable[[Counts, int], None]


def _load(
    connection: Connection, files: Sequence[str], options: Options, loaded: Loaded, count: Count, *, dry_run: bool
) -> None:
    connection.execute(ending_with_client(local=False))
    target = find_target(connection, options.table, options.vector)
    loaded.table = target.shown
    refuse_unloadable(connection, target)
    units = offsets(list(chain.from_iterable(format_of(file).units(file) for file in expand(files))), options)
    bindings = [bind(unit, target, options, connection) for unit in units]
    sizes = [None if unit.stop is None else unit.stop - unit.start for unit in units]
    loaded.expected = None if None in sizes else sum(size or 0 for size in sizes)
    _refuse_other_count(options, bindings, loaded.expected)
    loaded.notes += vector_indexes(connection, target)
    if dry_run:
        for unit, binding in zip(units, bindings, strict=True):
            for rows in read_rows(unit, binding, options):
                count(Counts(unchanged=len(rows)), 0)
        return
    if any(map(generates, bindings)):
        _load_generated(connection, target, zip(units, bindings, strict=True), options, count)
    else:
        fresh = _is_empty(connection, target)
        for unit, binding in zip(units, bindings, strict=True):
            _load_unit(connection, unit, binding, options, count, fresh=fresh)
    with _refusals():
        flush(connection)
        loaded.notes += finish(connection, target)


def load_unit(options: Options, unit: Unit, *, fresh: bool = False, conninfo: str = "") -> Counts:
    """Load one part of a file by a connection of its own, and return what was done. It may run twice.

    ``fresh`` copies without a comparison first, for a table that was empty. Raises as ``load_files``.
    """
    done: list[Counts] = []
    with connect(conninfo) as connection:
        target = find_target(connection, options.table, options.vector)
        binding = bind(unit, target, options, connection)
        _load_unit(connection, unit, binding, options, lambda counts, _: done.append(counts), fresh=fresh)
    return sum(done, Counts())


def _load_unit(
    connection: Connection, unit: Unit, binding: Binding, options: Options, count: Count, *, fresh: bool
) -> None:
    for rows in read_rows(unit, binding, options):
        with _refusals():
            counts = store(connection, binding.target, rows, options.existing, fresh=fresh)
        count(counts, rows.size)


def read_rows(unit: Unit, binding: Binding, options: Options) -> Iterator[Rows]:
    """Yield the checked rows of a unit, block by block. Raises InputError for the first bad row."""
    for block in format_of(unit.file).read(unit, vector_name(binding.target, options)):
        rows, faults = prepare(block, binding)
        if faults:
            raise InputError(f"{faults[0].file}, row {faults[0].row}: {faults[0].reason}", f"Mend it. {_AGAIN}")
        if len(rows):
            yield rows


def _load_generated(
    connection: Connection,
    target: Target,
    parts: Iterator[tuple[Unit, Binding]],
    options: Options,
    count: Count,
) -> None:
    """Copy everything in one transaction into the empty table: without keys, a second run could not see the first."""
    done: list[tuple[Counts, int]] = []
    with ExitStack() as stack:
        stack.enter_context(_refusals())
        stack.enter_context(connection.transaction())
        connection.execute(sql.SQL(_LOCK).format(table=target.sql_name))
        if not _is_empty(connection, target):
            raise InputError(
                f"{target.shown} has rows, and the files have no keys: a second load would double them",
                "Give the keys: a column, --ids FILE.npy, or --number-from 1",
            )
        for unit, binding in parts:
            done += ((copy(connection, target, rows), rows.size) for rows in read_rows(unit, binding, options))
    for counts, size in done:
        count(counts, size)


def _is_empty(connection: Connection, target: Target) -> bool:
    return connection.execute(sql.SQL(_IS_EMPTY).format(table=target.sql_name)).fetchone() == (True,)


def _refuse_other_count(options: Options, bindings: Sequence[Binding], rows: int | None) -> None:
    for binding in bindings[:1]:
        if binding.ids is not None and rows is not None and len(binding.ids) != rows:
            raise InputError(f"{options.ids} has {len(binding.ids):,} keys, and the files have {rows:,} rows")


class _refusals:  # noqa: N801  # a context manager, as contextlib's
    """Raise the server's errors as this project's, with the row that caused them."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, psycopg.Error):
            return
        if is_connection_lost(error):
            raise UnreachableError(f"the connection was lost: {one_line(error)}", _AGAIN) from error
        place = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        remedy = REMEDIES.get(error.sqlstate or "", f"Nothing of this block was stored. {_AGAIN}")
        raise WrongResultError(f"{place}the server refuses it: {one_line(error)}", remedy) from error
