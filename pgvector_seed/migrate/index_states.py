"""The declared indexes of a deployment and their states: built, waiting for rows, or no longer declared."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.common.sizes import shown_size
from pgvector_seed.common.text import counted, printable
from pgvector_seed.migrate.ledger.model import BuiltIndex, Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.owned import owned_names
from pgvector_seed.vectors.index.state import IndexState, index_state
from pgvector_seed.vectors.index.target import IndexTarget, resolve

# At most ``rows`` rows are returned. A table that was made anew may have another owner's policies: they are not run.
_OFF = "SELECT pg_catalog.set_config('row_security', 'off', true)"
_ROWS = """
SELECT pg_catalog.count(*) FROM (SELECT FROM {only}{table} WHERE {column} IS NOT NULL LIMIT {rows}) AS present
"""
_DEPLOY = "Run: pulumi up" + in_checkout(" (make up)")


@dataclass(frozen=True)
class DeclaredState:
    """A declared index and its state.

    ``rows`` is the number of vectors that its column must have before the index is built or replaced. ``fault`` is the
    reason why it has no state, such as a missing table.
    """

    definition: IndexDefinition
    state: IndexState
    rows: int
    missing_rows: int = 0
    fault: InputError | None = None

    @property
    def is_ready(self) -> bool:
        """True if the index exists as declared."""
        return self.state.kind == "ready" and self.fault is None

    @property
    def waits(self) -> bool:
        """True if the index is not built or replaced yet, because its column has too few vectors."""
        return self.missing_rows > 0

    @property
    def reason(self) -> str:
        """The state in words."""
        state = self.state
        if self.fault is not None:
            return self.fault.message
        if self.waits:
            table = printable(self.definition.table)
            return f"waits: {table} has {self.rows - self.missing_rows:,} of {counted(self.rows, 'row')}"
        if state.kind == "building":
            percent = "" if state.percent is None else f", {state.percent} %"
            return f"is being built, by server process {state.pid}{percent}"
        words = {
            "ready": f"ready, {shown_size(state.bytes)}",
            "absent": "is not built",
            "invalid": "is not valid: its build was interrupted",
            "differs": "differs: " + "; ".join(state.differences),
        }[state.kind]
        leftovers = ", ".join(map(printable, state.leftovers))
        return f"{words}; the next build completes or drops {leftovers}" if leftovers else words


def read_declared(connection: Connection) -> Ledger:
    """Return the ledger. Raises InputError if the database has none, or none with a contract."""
    with translated("reading the ledger"):
        ledger = read_ledger(connection)
    if ledger is None or not ledger.catalogue:
        state = "has no ledger" if ledger is None else "has migrations that are not finished"
        raise InputError(f"this database {state}, so no index is declared", _DEPLOY)
    return ledger


def definitions_of(ledger: Ledger) -> list[IndexDefinition]:
    """Return the declared indexes."""
    return ledger.declaration.indexes(ledger.catalogue)


def states(connection: Connection, ledger: Ledger) -> list[DeclaredState]:
    """Return the declared indexes and their states."""
    with translated("looking for the declared indexes"):
        return [_state(connection, ledger, definition) for definition in definitions_of(ledger)]


def _state(connection: Connection, ledger: Ledger, definition: IndexDefinition) -> DeclaredState:
    declared = ledger.declaration.tables[definition.table].rows
    rows = 1 if declared is None else declared
    try:
        target = resolve(connection, definition)
        state = index_state(connection, definition)
    except InputError as error:
        return DeclaredState(definition, IndexState("absent"), rows, fault=error)
    present = rows if state.kind in ("ready", "building") else _count(connection, target, rows)
    return DeclaredState(definition, state, rows, rows - present)


def _count(connection: Connection, target: IndexTarget, most: int) -> int:
    """Return the number of vectors in the column, but ``most`` at most. Inherited rows are in no index of the table."""
    statement = sql.SQL(_ROWS).format(
        only=sql.SQL("" if target.partitioned else "ONLY "),
        table=target.relation,
        column=sql.Identifier(target.definition.column),
        rows=sql.Literal(most),
    )
    with connection.transaction():
        connection.execute(_OFF)
        ((present,),) = connection.execute(statement).fetchall()
    return int(present)


def undeclared(connection: Connection, ledger: Ledger) -> list[BuiltIndex]:
    """Return the indexes that were built and are no longer declared, those that exist on their table and column."""
    schema, declared = ledger.declaration.schema, {definition.name for definition in definitions_of(ledger)}
    return [
        index
        for index in ledger.indexes
        if index.name not in declared and owned_names(connection, schema, index.table, index.column, index.name)
    ]
