"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import RefusedError

# Ordinary tables only: a view of that name would run its maker's code as whoever asks.
_TABLES = """
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (
         WHERE c.relname IN ('deployment', 'migrations') AND c.relkind = 'r' AND NOT c.relrowsecurity)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pgvector_seed'
"""
_DEPLOYMENT = """
SELECT ledger::text, declaration, schema_created, unfinished, catalogue, contract
FROM pgvector_seed.deployment
"""
_MIGRATIONS = """
SELECT id, checksum, down, pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ'),
       extract(epoch FROM duration)::float, version, applied_by
FROM pgvector_seed.migrations
ORDER BY position
"""

DAMAGED = (
    "Restore it from a backup. Or give it up, which loses no table, and take the tables over into a new one: "
    "DROP SCHEMA pgvector_seed CASCADE; then python -m migrate baseline ID"
)


@dataclass(frozen=True)
class Applied:
    """A migration that is recorded as done. ``down`` is None where it cannot be undone.

    ``at`` is UTC; ``seconds`` is how long it took.
    """

    id: str
    checksum: str
    down: str | None
    at: str
    seconds: float
    version: str
    by: str


@dataclass(frozen=True)
class Ledger:
    """The record that a deployment keeps of itself, in the schema ``pgvector_seed``.

    ``unfinished`` is the file that was begun outside of a transaction and is not recorded as done
    (``file``, ``text``); empty when there is none. ``migrations`` maps id to what is recorded of it, in
    the order in which they were applied.
    """

    id: str
    declaration: Declaration
    schema_created: bool
    unfinished: dict[str, str]
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: dict[str, Applied]

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum, in the order in which they were applied."""
        return {id_: applied.checksum for id_, applied in self.migrations.items()}

    @property
    def irreversible(self) -> set[str]:
        """The ids of those that have no down."""
        return {id_ for id_, applied in self.migrations.items() if applied.down is None}


def read_ledger(connection: Connection) -> Ledger | None:
    """The ledger of this database, or None where it has none.

    Raises RefusedError where there is only a part of one, or something that cannot be one.
    """
    anything, tables = connection.execute(_TABLES).fetchone() or (0, 0)
    if not anything:
        return None
    row = connection.execute(_DEPLOYMENT).fetchone() if tables == 2 else None
    if row is None:
        raise RefusedError("the ledger in the schema pgvector_seed was damaged: a part of it is gone", DAMAGED)
    id_, declaration, schema_created, unfinished, catalogue, contract = row
    migrations = {applied[0]: Applied(*applied) for applied in connection.execute(_MIGRATIONS)}
    if not (_is_unfinished(unfinished) and _is_catalogue(catalogue) and isinstance(contract, dict)):
        raise RefusedError("the ledger in the schema pgvector_seed was damaged: its record cannot be read", DAMAGED)
    return Ledger(id_, _declaration(declaration), schema_created, unfinished, catalogue, contract, migrations)


def _declaration(found: Any) -> Declaration:
    try:
        return Declaration(**found)
    except TypeError as error:
        message = "the ledger in the schema pgvector_seed was damaged, or written by another version: what it declares"
        raise RefusedError(f"{message} cannot be read", DAMAGED) from error


def _is_unfinished(found: Any) -> bool:
    whole = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return whole and (not found or found.keys() == {"file", "text"})


def _is_catalogue(found: Any) -> bool:
    return found == {} or (isinstance(found, dict) and found.keys() == {"schema", "tables"})
