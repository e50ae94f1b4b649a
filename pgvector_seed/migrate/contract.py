"""What a deployment promises: what the stack declares, joined with what the catalogue said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import OWN_PROGRAM
from pgvector_seed.vectors.extension import EXTENSION

CONTRACT = 1
_UNDECLARE = (
    "run: pulumi config rm --path 'tables[\"{}\"]'; pulumi up"
    if OWN_PROGRAM
    else "take it out of VectorDatabaseArgs(tables=...)"
)
_RESERVED = ("pg_", "pgvector_seed")


@dataclass(frozen=True)
class Declaration:
    """What the stack says of a deployment, beyond its migrations.

    ``tables`` maps a table's name to what the catalogue cannot know of it: ``metric``, ``rows``
    (at least) and ``recall`` (``k``, ``minimum``). ``connection`` holds no user and no secret. ``roles``
    maps owner, writer and reader to their names, or is empty: then the tables belong to who deploys.
    """

    schema: str = "public"
    on_destroy: str = "retain"
    # The first pgvector without the known corruptions of an HNSW index (its issues 959, 988 and 993).
    minimum_version: str = "0.8.4"
    connection: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)


def fault_of_schema(name: str) -> str:
    """What is wrong with the name of a deployment's schema; "" when nothing is."""
    if not name or "\0" in name:
        return "must be text, not empty and without a NUL"
    if len(name.encode()) > 63:
        return "must have 63 bytes at most, PostgreSQL's limit for a name"
    # A search_path expands $user even in quotes.
    return f"{name!r} is reserved" if name.startswith(_RESERVED) or name in ("$user", "information_schema") else ""


def contract(
    declaration: Declaration, ledger_id: str, migrations: Mapping[str, str], catalogue: Mapping[str, Any]
) -> dict[str, Any]:
    """The contract, version 1, as JSON data.

    ``migrations`` maps id to checksum in the order of the ledger. ``catalogue`` is ``{"schema": where the
    extension is, "tables": vector_tables(...)}``, as it was in the transaction of the last migration.

    Raises InputError when the stack declares a table that the catalogue does not have.
    """
    tables = [_table(entry, declaration.tables) for entry in catalogue["tables"]]
    unknown = declaration.tables.keys() - {entry["table"] for entry in catalogue["tables"]}
    if unknown:
        name = min(unknown)
        raise InputError(
            f"the stack declares the table {name}, and the schema {declaration.schema} has no such table with vectors",
            f"Add the migration that makes it, or {_UNDECLARE.format(name)}",
        )
    promise = {
        "contract": CONTRACT,
        "connection": dict(declaration.connection),
        "extension": {"name": EXTENSION, "schema": catalogue["schema"], "minimum": declaration.minimum_version},
        "ledger": {
            "id": ledger_id,
            "migrations": [{"id": name, "checksum": checksum} for name, checksum in migrations.items()],
        },
        "tables": tables,
    }
    # The owner is a matter of each table.
    roles = {kind: name for kind, name in declaration.roles.items() if kind != "owner"}
    return {**promise, "roles": roles} if roles else promise


def _table(entry: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    promised = {**entry, **declared.get(entry["table"], {})}
    del promised["table"]
    return promised
