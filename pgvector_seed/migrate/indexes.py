"""Build the declared indexes of a deployment, and drop those that are no longer declared.

The migration lock is held only to record names: a build may take hours, and has a lock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from psycopg import errors, sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean
from pgvector_seed.migrate.index_recall import refuse_low_recall, try_on_sample
from pgvector_seed.migrate.index_states import DeclaredState, definitions_of, read_declared, states, undeclared
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.model import BuiltIndex, Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.write import record_built
from pgvector_seed.migrate.lock import locked
from pgvector_seed.migrate.session import DEFAULT_LIMITS
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.vectors.index.build import build_index, drop_index, require_own_names
from pgvector_seed.vectors.index.conditions import require_buildable
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.target import resolve

_STATUS = f"The declared ones: {PROGRAM} index status"


@dataclass(frozen=True)
class BuildOptions:
    """Options of ``build``.

    ``names`` are the indexes to build, or empty for all. ``memory_bytes`` limits the memory of one build. If
    ``sample_rows`` is given, each index is first built on a copy of so many rows, and its recall is measured.
    """

    names: Sequence[str] = ()
    memory_bytes: int | None = None
    sample_rows: int | None = None


@dataclass(frozen=True)
class BuildResult:
    """The indexes that were built or replaced, those that were dropped, and the state of every declared index."""

    built: list[str]
    dropped: list[str]
    states: list[DeclaredState]


def build(connection: Connection, report: Progress, options: BuildOptions) -> BuildResult:
    """Build the declared indexes whose tables have their rows, then drop the ones that are no longer declared.

    Raises InputError for an index that cannot be built as declared, and WrongResultError if the server refuses it, or
    if its recall is below the declared minimum.
    """
    ledger = read_declared(connection)
    chosen = [state for state in states(connection, ledger) if state.definition.name in _names(ledger, options.names)]
    work = [state for state in chosen if not (state.fault or state.waits)]
    missing = [state for state in work if not state.is_ready]
    for state in chosen:
        if not (state.fault or state.is_ready):
            require_buildable(connection, resolve(connection, state.definition))
            require_own_names(connection, state.definition)
    _record(connection, ledger, [state.definition for state in missing], report)
    if options.sample_rows is not None:
        for state in missing:
            try_on_sample(connection, ledger, state, options.sample_rows, report)
    built = [
        state.definition.name
        for state in work
        if build_index(connection, state.definition, report, memory_bytes=options.memory_bytes)
    ]
    after = states(connection, ledger)
    dropped = [] if options.names else _drop_undeclared(connection, ledger, after, report)
    _analyze(connection, ledger)
    for state in work:
        refuse_low_recall(connection, ledger, state, report)
    for fault in (state.fault for state in chosen if state.fault):
        raise fault
    return BuildResult(built, dropped, after)


def drop(connection: Connection, name: str, report: Progress) -> bool:
    """Drop a declared index, or one that was built and is no longer declared. Returns False if it does not exist.

    Raises InputError for another index.
    """
    ledger = read_declared(connection)
    declared = [_built(definition) for definition in definitions_of(ledger)]
    indexes = {index.name: index for index in (*undeclared(connection, ledger), *declared)}
    _require_declared(name, indexes)
    index, schema = indexes[name], ledger.declaration.schema
    dropped = drop_index(connection, schema, index.table, name, report, column=index.column)
    if index in ledger.indexes:
        _write(connection, lambda recorded: recorded - {index}, report)
    return dropped


def _built(definition: IndexDefinition) -> BuiltIndex:
    return BuiltIndex(definition.name, definition.table, definition.column)


def _analyze(connection: Connection, ledger: Ledger) -> None:
    """Analyze the tables with vectors, so that the planner knows their sizes."""
    schema = ledger.declaration.schema
    with translated("analyzing the tables"):
        for table in dict.fromkeys(entry["table"] for entry in ledger.catalogue["tables"]):
            with suppress(errors.UndefinedTable):  # it was dropped or renamed by hand: verify tells
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))


def _names(ledger: Ledger, names: Sequence[str]) -> set[str]:
    declared = [definition.name for definition in definitions_of(ledger)]
    for name in names:
        _require_declared(name, declared)
    return set(names or declared)


def _require_declared(name: str, names: Collection[str]) -> None:
    if name not in names:
        raise InputError(f"the stack declares no index {name}{did_you_mean(name, names)}", _STATUS)


def _drop_undeclared(
    connection: Connection, ledger: Ledger, after: Sequence[DeclaredState], report: Progress
) -> list[str]:
    """Drop the indexes that are no longer declared, of tables whose declared indexes are all ready."""
    schema = ledger.declaration.schema
    unready = {state.definition.table for state in after if not state.is_ready}
    existing = undeclared(connection, ledger)
    dropped = [
        index
        for index in existing
        if index.table not in unready
        and drop_index(connection, schema, index.table, index.name, report, column=index.column)
    ]
    declared = {state.definition.name for state in after}
    kept = {index for index in existing if index not in dropped}
    gone = {index for index in ledger.indexes if index.name not in declared} - kept
    if gone:
        _write(connection, lambda recorded: recorded - gone, report)
    return [index.name for index in dropped]


def _record(connection: Connection, ledger: Ledger, definitions: Sequence[IndexDefinition], report: Progress) -> None:
    """Record the indexes that are built from now on, but not a migration's."""
    migrations = {index["name"] for entry in ledger.catalogue["tables"] for index in entry.get("indexes", ())}
    new = {_built(definition) for definition in definitions if definition.name not in migrations}
    if not new <= {*ledger.indexes}:
        _write(connection, lambda recorded: recorded | new, report)


def _write(connection: Connection, change: Callable[[set[BuiltIndex]], set[BuiltIndex]], report: Progress) -> None:
    with translated("recording the indexes"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        if ledger is not None:
            upgrade(connection, ledger, DEFAULT_LIMITS, report)
            record_built(connection, change({*ledger.indexes}))
