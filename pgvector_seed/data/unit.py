"""Load one part of a file, or of arrays: the work of a thread, another process or another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psycopg

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.data.bind import LoadOptions, bind, vector_name
from pgvector_seed.data.block import Block, RowFault
from pgvector_seed.data.finish import flush
from pgvector_seed.data.formats import STDIN, Unit, format_of
from pgvector_seed.data.prepare import Binding, prepare
from pgvector_seed.data.rejects import Rejects
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.session import Session, refusals
from pgvector_seed.data.store import Counts, store
from pgvector_seed.data.target import Target, find_target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import is_connection_lost

Columns = Callable[[str], list[str] | None]
Count = Callable[[Counts, int], None]  # called after each block with its counts, and its size in bytes


@dataclass(frozen=True)
class Part:
    """Blocks, and where their columns go. ``rows`` is their number if it is known.

    ``read`` can be called again, unless ``once`` is True. ``unit`` is set for a part of a file.
    """

    bind: Callable[[Target], Binding]
    read: Callable[[Target], Iterable[Block]]
    rows: int | None
    once: bool = False
    unit: Unit | None = None

    def prepared(self, target: Target) -> Iterator[tuple[Rows, list[RowFault]]]:
        """Yield the good rows of each block, and its faults.

        Raises InputError at the end if there are more keys than rows, and only reading tells the number of rows.
        """
        binding = self.bind(target)
        last = 0
        for block in self.read(target):
            last = max([last, *block.numbers[-1:].tolist(), *(fault.row for fault in block.faults)])
            yield prepare(block, binding)
        if self.rows is None and binding.ids is not None and binding.offset + last < len(binding.ids):
            raise InputError(
                f"there are {counted(len(binding.ids), 'key')}, and {counted(binding.offset + last, 'row')}",
                "The rows were loaded with the first keys. Check the two files.",
            )


def columns_of(file: str) -> list[str] | None:
    """Return the names of a file's columns, or None if it has vectors alone."""
    return format_of(file).columns(file)


def part_of_file(unit: Unit, options: LoadOptions, columns: Columns = columns_of) -> Part:
    """Return a part of a file. ``columns`` is ``columns_of``, or a cache of it for several parts."""
    return Part(
        bind=lambda target: bind(unit, columns(unit.file), target, options),
        read=lambda target: format_of(unit.file).read(unit, vector_name(target, options)),
        rows=None if unit.stop is None else unit.stop - unit.start,
        once=unit.file == STDIN,
        unit=unit,
    )


def load_unit(options: LoadOptions, unit: Unit, *, fresh: bool = False, conninfo: str = "") -> Counts:
    """Load one part of a file by a connection of its own, and return what was done. It may run twice.

    ``fresh`` copies without a comparison first, for a table that was empty. Raises InputError for a bad row,
    WrongResultError if the table has other values or the server refuses a row, and UnreachableError.
    """
    done: list[Counts] = []
    with Session(conninfo) as session, Rejects(None) as rejects:
        load_part(
            session, part_of_file(unit, options), options, rejects, lambda counts, _: done.append(counts), fresh=fresh
        )
    return sum(done, Counts())


def load_part(
    session: Session, part: Part, options: LoadOptions, rejects: Rejects, count: Count, *, fresh: bool
) -> None:
    """Load one part by an open session, and wait until it is on the server's disk. Raises as ``load_unit``.

    If the connection is lost, the part is loaded again from its first row: a crash of the server also loses blocks
    whose commits were not waited for. If the part cannot be read again, a lost connection is an error.
    """
    reported = 0  # blocks whose bad rows were written

    def work(connection: Connection, again: bool) -> None:  # noqa: FBT001  # as Session.run calls it
        nonlocal reported
        target = find_target(connection, options.table, options.vector)
        done, size = Counts(), 0
        try:
            for number, (rows, faults) in enumerate(part.prepared(target), start=1):
                if number > reported:
                    rejects.add(faults)
                    reported = number
                if len(rows):
                    counts = store(connection, target, rows, options.existing, fresh=fresh and not again)
                    done, size = done + counts, size + rows.size
                    count(counts, rows.size)
            flush(connection)
        except psycopg.Error as error:
            if is_connection_lost(error):
                count(-done, -size)
            raise

    if part.once:
        with refusals():
            work(session.connection, again=False)
    else:
        session.run(work)
