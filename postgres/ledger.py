"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import RefusedError

LEDGER_SCHEMA = "pgvector_seed"

_TABLES = """
SELECT pg_catalog.to_regclass('pgvector_seed.deployment') IS NOT NULL,
       pg_catalog.to_regclass('pgvector_seed.migrations') IS NOT NULL
"""
_DEPLOYMENT = """
SELECT ledger::text, declaration, schema_created, unfinished, catalogue, contract
FROM pgvector_seed.deployment
"""
_MIGRATIONS = """
SELECT id, checksum, down, applied_at::timestamp(0)::text,
       extract(epoch FROM duration)::float, version, applied_by
FROM pgvector_seed.migrations
ORDER BY position
"""


@dataclass(frozen=True)
class Applied:
    """A migration that is recorded as done. ``down`` is None where it cannot be undone.

    ``at`` is in the session's time zone; ``seconds`` is how long it took.
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
    (``file``, ``checksum``); empty when there is none.
    """

    id: str
    declaration: Declaration
    schema_created: bool
    unfinished: dict[str, str]
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: tuple[Applied, ...]

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum, in the order in which they were applied."""
        return {migration.id: migration.checksum for migration in self.migrations}

    @property
    def irreversible(self) -> set[str]:
        """The ids of those that have no down."""
        return {migration.id for migration in self.migrations if migration.down is None}


def is_reserved(schema: str) -> bool:
    """True for PostgreSQL's own names, ours, and $user, which a search_path expands even in quotes."""
    return schema.startswith(("pg_", LEDGER_SCHEMA)) or schema == "$user"


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
    migrations = tuple(Applied(*applied) for applied in connection.execute(_MIGRATIONS))
    return Ledger(id_, Declaration(**declaration), schema_created, unfinished, catalogue, contract, migrations)
