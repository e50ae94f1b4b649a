"""Load files of vectors into a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain

from pgvector_seed.common.errors import InputError, InterruptError
from pgvector_seed.common.remedies import needing_extra
from pgvector_seed.common.text import os_error
from pgvector_seed.data.bind import LoadOptions, generates, offsets
from pgvector_seed.data.finish import finish, unbuilt_indexes
from pgvector_seed.data.formats import Unit, expand, format_of
from pgvector_seed.data.generated import is_empty, load_generated
from pgvector_seed.data.parallel import load_parts
from pgvector_seed.data.refuse import refuse_unloadable, vector_indexes
from pgvector_seed.data.rejects import Rejects, refuse_input
from pgvector_seed.data.session import Session
from pgvector_seed.data.store import Counts
from pgvector_seed.data.summary import Loaded, Tally, Work
from pgvector_seed.data.target import Target, find_target
from pgvector_seed.data.unit import Count, Part, columns_of, load_part, part_of_file
from pgvector_seed.postgres.connection import Connection

_ALL = Work()


def load_files(
    files: Sequence[str],
    options: LoadOptions,
    report: Callable[[Loaded], None] = lambda _loaded: None,
    *,
    work: Work = _ALL,
    conninfo: str = "",
) -> Loaded:
    """Load the files, in this order, and report after each block.

    Raises InputError for a bad row or file, WrongResultError if the table has other values or the server refuses a
    row, UnreachableError, and InterruptError. What was committed before stays.
    """
    names = expand(files)
    refuse_input(work.rejects, filter(None, [*names, options.ids]))
    units = offsets(list(chain.from_iterable(map(_units, names))), options)
    columns = cache(columns_of)  # a store has to be asked for them
    parts = [part_of_file(unit, options, columns) for unit in units]
    return load_all(parts, options, report, work=work, conninfo=conninfo)


def _units(file: str) -> list[Unit]:
    try:
        return format_of(file).units(file)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> InputError:
    return InputError(f"a file cannot be read: {os_error(error)}")


def load_all(
    parts: Sequence[Part],
    options: LoadOptions,
    report: Callable[[Loaded], None] = lambda _loaded: None,
    *,
    work: Work = _ALL,
    conninfo: str = "",
) -> Loaded:
    """Load the parts, in this order. Raises as ``load_files``."""
    tally = Tally(report)
    try:
        with Session(conninfo) as session, Rejects(work.rejects) as rejects:
            _load(session, parts, options, work, rejects, tally)
            tally.loaded.rejected = rejects.count
    except (KeyboardInterrupt, InterruptError) as error:
        least = "" if work.dask is None else "at least "  # parts in progress are not counted
        raise InterruptError(f"{least}{tally.loaded.rows:,} rows are in the table") from error
    except OSError as error:
        raise _unreadable(error) from error
    tally.stop_clock()
    return tally.loaded


def _load(
    session: Session, parts: Sequence[Part], options: LoadOptions, work: Work, rejects: Rejects, tally: Tally
) -> None:
    target = session.run(lambda connection, _: _checked_target(connection, options))
    tally.loaded.table, tally.loaded.is_declared = target.shown, target.is_declared
    tally.note(vector_indexes(session.connection, target))
    is_generated = _generates(target, parts)
    if is_generated and (work.jobs > 1 or work.shard != (0, 1) or work.dask):
        remedy = "No --jobs, no --shard, no --dask."
        raise InputError("the database generates the keys, so the load is one transaction", remedy)
    parts = parts[work.shard[0] :: work.shard[1]]
    tally.loaded.expected = _rows(parts)
    if work.dry_run:
        _check(target, parts, rejects, tally.count)
        return
    if is_generated:
        load_generated(session.connection, target, parts, rejects, tally.count)
    else:
        fresh = session.run(lambda connection, _: is_empty(connection, target))
        if work.dask is not None:
            with needing_extra("dask", "--dask"):
                from pgvector_seed.data.cluster import load_by_dask  # slow to import
            load_by_dask(session, target, parts, options, work, rejects, tally, fresh=fresh)
        elif work.jobs > 1:
            load_parts(parts, options, rejects, tally.count, jobs=work.jobs, fresh=fresh, conninfo=session.conninfo)
        else:
            for part in parts:
                load_part(session, part, options, rejects, tally.count, fresh=fresh)
    changed = tally.loaded.counts.copied + tally.loaded.counts.changed > 0
    tally.loaded.notes += session.run(lambda connection, _: list(finish(connection, target, changed=changed)))
    tally.loaded.unbuilt = session.run(lambda connection, _: unbuilt_indexes(connection, target))
    tally.loaded.notes += [
        f"the declared index {name} is not built: once all rows are loaded, the role {target.owner} may build it"
        for name in tally.loaded.unbuilt
    ]


def _checked_target(connection: Connection, options: LoadOptions) -> Target:
    target = find_target(connection, options.table, options.vector)
    refuse_unloadable(connection, target)
    return target


def _generates(target: Target, parts: Sequence[Part]) -> bool:
    """Return True if the database generates the keys. Raises InputError if a part does not fit the table."""
    bindings = [part.bind(target) for part in parts]
    keys = next((binding.ids for binding in bindings), None)
    rows = _rows(parts)
    if keys is not None and rows is not None and len(keys) != rows:
        raise InputError(f"there are {len(keys):,} keys, and {rows:,} rows")
    return any(map(generates, bindings))


def _check(target: Target, parts: Sequence[Part], rejects: Rejects, count: Count) -> None:
    """Read and check the rows, and write nothing."""
    for part in parts:
        for rows, faults in part.prepared(target):
            rejects.add(faults)
            count(Counts(checked=len(rows)), 0)


def _rows(parts: Sequence[Part]) -> int | None:
    """Return the number of rows in the parts, or None if only reading tells it."""
    sizes = [part.rows for part in parts if part.rows is not None]
    return sum(sizes) if len(sizes) == len(parts) else None
