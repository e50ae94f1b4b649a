"""The recall that the contract declares for a vector column, and the reader's role."""

from __future__ import annotations

from dataclasses import dataclass

from pgvector_seed.data.target import Target, recorded_contract
from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.postgres.catalog import parse_name
from pgvector_seed.postgres.connection import Connection


@dataclass(frozen=True)
class Promise:
    """A declared recall, and the reader's role; None if they are not declared."""

    recall: DeclaredRecall | None = None
    reader: str | None = None


def read_promise(connection: Connection, target: Target) -> Promise:
    """Return what the recorded contract says of a table's vector column."""
    contract = recorded_contract(connection)
    if contract is None:
        return Promise()
    for table in contract.tables or ():
        if table.vector == target.vector.name and parse_name(connection, table.name) == target.name:
            return Promise(table.recall, contract.roles.reader)
    return Promise(None, contract.roles.reader)
