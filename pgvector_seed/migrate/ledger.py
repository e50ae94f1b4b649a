"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.contract import Declaration
from pgvector_seed.migrate.trust import Writers, find_writers, refuse_to_read, refuse_to_write
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import nothing_on_path

SCHEMA = "pgvector_seed"  # and its tables
RELATIONS = ("deployment", "migrations")

# How many relations there are, and which columns of what types the two have that are ordinary tables. A view, or a
# column of a type with a cast of its own, would run its maker's code as whoever asks.
_SHAPE = """
SELECT pg_catalog.count(DISTINCT c.oid), pg_catalog.array_agg(
         pg_catalog.concat_ws(' ', c.relname, a.attname, t.typname) ORDER BY c.relname, a.attnum)
       FILTER (WHERE c.relkind = 'r' AND NOT c.relrowsecurity AND c.relname IN ('deployment', 'migrations')
                 AND t.typnamespace = 'pg_catalog'::regnamespace AND a.attgenerated = '')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE n.nspname = 'pgvector_seed'
"""
_COLUMNS = [
    "deployment only_row bool",
    "deployment ledger uuid",
    "deployment declaration jsonb",
    "deployment schema_created bool",
    "deployment unfinished jsonb",
    "deployment catalogue jsonb",
    "deployment contract jsonb",
    "migrations id text",
    "migrations position int4",
    "migrations checksum text",
    "migrations down text",
    "migrations applied_at timestamptz",
    "migrations duration interval",
    "migrations version text",
    "migrations applied_by text",
]
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

_DECLARED = {
    "schema": str,
    "on_destroy": str,
    "minimum_version": str,
    "connection": dict,
    "tables": dict,
    "roles": dict,
}

DAMAGED = (
    "Restore it from a backup. Or give it up, which loses no table, and take the tables over into a new one: "
    f"DROP SCHEMA pgvector_seed CASCADE; then {PROGRAM} migrate baseline ID"
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
    (``file``, ``text``, and ``index``, the oid of an index that a failure left); empty when there is none.
    ``migrations`` maps id to what is recorded of it, in the order in which they were applied. ``writers`` are
    the roles beside its owner that could have changed any of it.
    """

    id: str
    declaration: Declaration
    schema_created: bool
    unfinished: dict[str, str]
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: dict[str, Applied]
    writers: Writers

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum, in the order in which they were applied."""
        return {id_: applied.checksum for id_, applied in self.migrations.items()}

    @property
    def irreversible(self) -> set[str]:
        """The ids of those that have no down."""
        return {id_ for id_, applied in self.migrations.items() if applied.down is None}


def read_ledger(connection: Connection, *, to_write: bool = False) -> Ledger | None:
    """The ledger of this database, or None where it has none; ``to_write`` when it will be written to.

    Raises RefusedError where there is only a part of one, or something that cannot be one, or a stranger's.
    """
    with nothing_on_path(connection):
        writers = find_writers(connection)
        if to_write:
            refuse_to_write(connection, writers)
        else:
            refuse_to_read(connection)
        anything, columns = connection.execute(_SHAPE).fetchone() or (0, None)
        if not anything:
            return None
        row = connection.execute(_DEPLOYMENT).fetchone() if columns == _COLUMNS else None
        applied = connection.execute(_MIGRATIONS).fetchall() if row else []
    if row is None:
        raise RefusedError(
            "the ledger in the schema pgvector_seed was damaged, or is of another version: a part of it is gone",
            DAMAGED,
        )
    id_, declaration, schema_created, unfinished, catalogue, contract = row
    migrations = {found[0]: Applied(*found) for found in applied}
    if not (_is_unfinished(unfinished) and _is_catalogue(catalogue) and isinstance(contract, dict)):
        raise RefusedError("the ledger in the schema pgvector_seed was damaged: its record cannot be read", DAMAGED)
    return Ledger(id_, _declaration(declaration), schema_created, unfinished, catalogue, contract, migrations, writers)


def deployment_schema(ledger: Ledger | None, named: str | None, *, to_undo: bool = False) -> str:
    """Return the deployment's schema: the one that was named, or else the ledger's; without a ledger, the default.

    Raises RefusedError if the ledger alone names it and another role could have written that: what then runs would
    find the functions and operators of that schema first. The default one is used without a ledger, too, and only
    ``to_undo`` must it be named: what is dropped there could be another's.
    """
    recorded = ledger.declaration.schema if ledger else Declaration.schema
    if ledger and named is None and (to_undo or recorded != Declaration.schema):
        remedy = f"Name it: --schema {shlex.quote(recorded)}, if it is that."
        refuse_if_others_write(ledger, "the name of the schema", remedy)
    return named or recorded


def refuse_if_others_write(ledger: Ledger, what: str, remedy: str) -> None:
    """Raise RefusedError if a role other than the owner may write to the ledger, which alone has ``what``."""
    if ledger.writers.names:
        names = ", ".join(ledger.writers.names)
        raise RefusedError(f"{what} is only in the ledger, to which {names} may write", remedy)


def _declaration(found: Any) -> Declaration:
    if isinstance(found, dict):
        found = {"roles": {}, **found}  # a record that was made before there were roles
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _DECLARED:
        raise RefusedError("the ledger in the schema pgvector_seed was damaged: what it declares is unknown", DAMAGED)
    return Declaration(**found)


def _is_unfinished(found: Any) -> bool:
    whole = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return whole and (not found or {"file", "text"} <= found.keys() <= {"file", "text", "index"})


def _is_catalogue(found: Any) -> bool:
    return found == {} or (isinstance(found, dict) and found.keys() == {"schema", "tables"})
