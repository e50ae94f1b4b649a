"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import RefusedError

_TABLES = """
SELECT pg_catalog.to_regclass('pgvector_seed.deployment') IS NOT NULL,
       pg_catalog.to_regclass('pgvector_seed.migrations') IS NOT NULL
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
    (``file``, ``checksum``); empty when there is none. ``migrations`` maps id to what is recorded of it, in
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

    Raises RefusedError where there is only a part of one.
    """
    tables = connection.execute(_TABLES).fetchone()
    if tables == (False, False):
        return None
    row = connection.execute(_DEPLOYMENT).fetchone() if tables == (True, True) else None
    if row is None:
        raise RefusedError(
            "the ledger in the schema pgvector_seed was damaged: a part of it is gone",
            "Restore it from a backup. Or give it up, which loses no table, and take the tables over into a new one: "
            "DROP SCHEMA pgvector_seed CASCADE; then python -m migrate baseline ID",
        )
    id_, declaration, schema_created, unfinished, catalogue, contract = row
    migrations = {row[0]: Applied(*row) for row in connection.execute(_MIGRATIONS)}
    return Ledger(id_, Declaration(**declaration), schema_created, unfinished, catalogue, contract, migrations)
