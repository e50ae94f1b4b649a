"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postgres.connection import Connection

LEDGER_SCHEMA = "pgvector_seed"

_EXISTS = "SELECT pg_catalog.to_regclass('pgvector_seed.deployment') IS NOT NULL"
_DEPLOYMENT = """
SELECT ledger::text, schema_name, schema_created, on_destroy, catalogue, contract
FROM pgvector_seed.deployment
"""
_MIGRATIONS = "SELECT id, checksum, down FROM pgvector_seed.migrations ORDER BY position"


@dataclass(frozen=True)
class Applied:
    """A migration that is recorded as done. ``down`` is None where it cannot be undone."""

    id: str
    checksum: str
    down: str | None


@dataclass(frozen=True)
class Ledger:
    """The record that a deployment keeps of itself, in the schema ``pgvector_seed``."""

    id: str
    schema: str
    schema_created: bool
    on_destroy: str
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: tuple[Applied, ...]

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum, in the order in which they were applied."""
        return {migration.id: migration.checksum for migration in self.migrations}


def read_ledger(connection: Connection) -> Ledger | None:
    """The ledger of this database, or None where it has none."""
    exists = connection.execute(_EXISTS).fetchone()
    if exists is None or not exists[0]:
        return None
    row = connection.execute(_DEPLOYMENT).fetchone()
    if row is None:
        return None
    id_, schema, schema_created, on_destroy, catalogue, contract = row
    migrations = tuple(Applied(*applied) for applied in connection.execute(_MIGRATIONS))
    return Ledger(id_, schema, schema_created, on_destroy, catalogue, contract, migrations)
