"""The declared indexes of a deployment: which of them are built, wait for rows, or are no longer declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.common.text import counted, did_you_mean
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.write import record_built
from pgvector_seed.migrate.lock import Progress, locked
from pgvector_seed.migrate.session import DEFAULT_LIMITS
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.definition import IndexDefinition
from pgvector_seed.vectors.index_build import build_index, drop_index
from pgvector_seed.vectors.index_state import IndexState, index_state

_TABLE_OF_INDEX = """
SELECT t.relname FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE n.nspname = %s AND x.relname = %s
"""
# At most ``rows`` rows are read.
_ROWS = "SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {rows}) AS present"
DEPLOY = "Run: pulumi up" + in_checkout(" (make up)")
STATUS = f"The declared ones: {PROGRAM} index status"


@dataclass(frozen=True)
class DeclaredState:
    """A declared index and its state. ``missing_rows`` is how many rows its table lacks before the index is built."""

    definition: IndexDefinition
    state: IndexState
    rows: int  # the declared number
    missing_rows: int

    @property
    def is_ready(self) -> bool:
        """True if the index exists as declared."""
        return self.state.ready

    @property
    def waits(self) -> bool:
        """True if the index is not built yet, because its table has too few rows."""
        return self.missing_rows > 0 and not self.state.exists

    @property
    def reason(self) -> str:
        """The reason why the index is not ready, in words."""
        if self.waits:
            return f"waits: {self.definition.table} has {self.rows - self.missing_rows:,} of {counted(self.rows, 'row')}"
        return self.state.description


@dataclass(frozen=True)
class BuildOptions:
    """``names`` are the indexes to build, or empty for all. ``memory_bytes`` is the limit of one build's memory."""

    names: Sequence[str] = ()
    memory_bytes: int | None = None


@dataclass(frozen=True)
class BuildResult:
    """The indexes that were built or replaced, those that were dropped, and the state of every declared index."""

    built: list[str]
    dropped: list[str]
    states: list[DeclaredState]


def read_declared(connection: Connection) -> Ledger:
    """Return the ledger. Raises InputError if the database has none, or none with a contract."""
    with translated("reading the ledger"):
        ledger = read_ledger(connection)
    if ledger is None or not ledger.catalogue:
        state = "has no ledger" if ledger is None else "has migrations that are not finished"
        raise InputError(f"this database {state}, so no index is declared", DEPLOY)
    return ledger


def states(connection: Connection, ledger: Ledger) -> list[DeclaredState]:
    """Return the declared indexes and their states."""
    with translated("looking for the declared indexes"):
        return [_state(connection, ledger, definition) for definition in _definitions(ledger)]


def build(connection: Connection, report: Progress, options: BuildOptions) -> BuildResult:
    """Build the declared indexes whose tables have their rows, then drop the ones that are no longer declared.

    Raises InputError for an index that cannot be built as declared, and WrongResultError if the server refuses it.
    """
    ledger = read_declared(connection)
    with translated("building the declared indexes"):
        chosen = [state for state in states(connection, ledger) if state.definition.name in _names(ledger, options.names)]
        work = [state for state in chosen if not (state.is_ready or state.waits)]
        _record(connection, ledger, [state.definition.name for state in work], report)
        built = [
            state.definition.name
            for state in chosen
            if not state.waits
            and build_index(connection, state.definition, report, memory_bytes=options.memory_bytes)
        ]
        after = states(connection, ledger)
        dropped = _drop_undeclared(connection, ledger, after, report) if not options.names else []
    return BuildResult(built, dropped, after)


def drop(connection: Connection, name: str, report: Progress) -> bool:
    """Drop a declared index, or one that was built and is no longer declared. Returns False if it does not exist.

    Raises InputError for another index.
    """
    ledger = read_declared(connection)
    with translated(f"dropping the index {name}"):
        tables = {definition.name: definition.table for definition in _definitions(ledger)}
        tables |= {other: table for other, table in _undeclared(connection, ledger)}
        if name not in tables:
            raise InputError(f"the stack declares no index {name}{did_you_mean(name, tables)}", STATUS)
        return drop_index(connection, ledger.declaration.schema, tables[name], name, report)


def analyze(connection: Connection, ledger: Ledger) -> None:
    """Analyze the tables with vectors, so that the planner knows their sizes."""
    for table in dict.fromkeys(entry["table"] for entry in ledger.catalogue["tables"]):
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(ledger.declaration.schema, table)))


def _definitions(ledger: Ledger) -> list[IndexDefinition]:
    return ledger.declaration.indexes(ledger.catalogue)


def _names(ledger: Ledger, names: Sequence[str]) -> set[str]:
    declared = [definition.name for definition in _definitions(ledger)]
    for name in names:
        if name not in declared:
            raise InputError(f"the stack declares no index {name}{did_you_mean(name, declared)}", STATUS)
    return set(names or declared)


def _state(connection: Connection, ledger: Ledger, definition: IndexDefinition) -> DeclaredState:
    declared = ledger.declaration.tables[definition.table].rows
    rows = 1 if declared is None else declared
    table = sql.Identifier(definition.schema, definition.table)
    statement = sql.SQL(_ROWS).format(table=table, rows=sql.Literal(rows))
    ((present,),) = connection.execute(statement).fetchall()
    return DeclaredState(definition, index_state(connection, definition), rows, rows - present)


def _undeclared(connection: Connection, ledger: Ledger) -> list[tuple[str, str]]:
    """Return the name and the table of each index that was built and is no longer declared."""
    declared = {definition.name for definition in _definitions(ledger)}
    return [
        (name, table)
        for name in ledger.indexes
        if name not in declared
        for (table,) in query_catalog(connection, _TABLE_OF_INDEX, (ledger.declaration.schema, name))
    ]


def _drop_undeclared(
    connection: Connection, ledger: Ledger, after: Sequence[DeclaredState], report: Progress
) -> list[str]:
    """Drop the indexes that are no longer declared, of tables whose declared indexes are all ready."""
    unready = {state.definition.table for state in after if not state.is_ready}
    undeclared = _undeclared(connection, ledger)
    dropped = [
        name
        for name, table in undeclared
        if table not in unready and drop_index(connection, ledger.declaration.schema, table, name, report)
    ]
    kept = {name for name, _ in undeclared} - {*dropped}
    declared = {definition.name for definition in _definitions(ledger)}
    if {*ledger.indexes} - declared - kept:
        _write(connection, lambda names: [name for name in names if name in declared | kept], report)
    return dropped


def _record(connection: Connection, ledger: Ledger, names: Sequence[str], report: Progress) -> None:
    """Record the names of the indexes that are built from now on, but not of a migration's."""
    migrations = {index["name"] for entry in ledger.catalogue["tables"] for index in entry.get("indexes", ())}
    new = {*names} - migrations - {*ledger.indexes}
    if new:
        _write(connection, lambda recorded: [*recorded, *new], report)


def _write(connection: Connection, change: Callable[[list[str]], list[str]], report: Progress) -> None:
    with locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        if ledger is not None:
            upgrade(connection, ledger, DEFAULT_LIMITS, report)
            record_built(connection, change(ledger.indexes))
