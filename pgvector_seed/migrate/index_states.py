"""The declared indexes of a deployment and their states: built, waiting for rows, or no longer declared."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.common.sizes import shown_size
from pgvector_seed.common.text import counted, printable
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.state import IndexState, index_state

_TABLE_OF_INDEX = """
SELECT t.relname FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE n.nspname = %s AND x.relname = %s
"""
# At most ``rows`` rows are read.
_ROWS = "SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {rows}) AS present"
_DEPLOY = "Run: pulumi up" + in_checkout(" (make up)")


@dataclass(frozen=True)
class DeclaredState:
    """A declared index and its state. ``rows`` is the number that its table must have before the index is built."""

    definition: IndexDefinition
    state: IndexState
    rows: int
    missing_rows: int

    @property
    def is_ready(self) -> bool:
        """True if the index exists as declared."""
        return self.state.kind == "ready"

    @property
    def waits(self) -> bool:
        """True if the index is not built yet, because its table has too few rows."""
        return self.missing_rows > 0 and self.state.kind == "absent"

    @property
    def reason(self) -> str:
        """The state in words."""
        state = self.state
        if self.waits:
            table = printable(self.definition.table)
            return f"waits: {table} has {self.rows - self.missing_rows:,} of {counted(self.rows, 'row')}"
        if state.kind == "building":
            percent = "" if state.percent is None else f", {state.percent} %"
            return f"is being built, by server process {state.pid}{percent}"
        return {
            "ready": f"ready, {shown_size(state.bytes)}",
            "absent": "is not built",
            "invalid": "is not valid: its build was interrupted",
            "differs": "differs: " + "; ".join(state.differences),
        }[state.kind]


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
    table = sql.Identifier(definition.schema, definition.table)
    statement = sql.SQL(_ROWS).format(table=table, rows=sql.Literal(rows))
    ((present,),) = connection.execute(statement).fetchall()
    return DeclaredState(definition, index_state(connection, definition), rows, rows - present)


def undeclared(connection: Connection, ledger: Ledger) -> dict[str, str]:
    """Return the names of the indexes that were built and are no longer declared, each with its table."""
    declared = {definition.name for definition in definitions_of(ledger)}
    return {
        name: table
        for name in ledger.indexes
        if name not in declared
        for (table,) in query_catalog(connection, _TABLE_OF_INDEX, (ledger.declaration.schema, name))
    }
