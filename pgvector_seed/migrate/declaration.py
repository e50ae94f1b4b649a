"""The declaration of a deployment, and the contract that follows from it and the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import IN_CHECKOUT
from pgvector_seed.migrate.contract import (
    CONTRACT,
    Contract,
    DeclaredConnection,
    Parameters,
    TableDeclaration,
    as_data,
    convert,
    prepare_type,
)
from pgvector_seed.migrate.declared_indexes import declared_indexes, indexes_of_column
from pgvector_seed.postgres.catalog import fault_of_identifier
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.index.definition import IndexDefinition

_TABLES = "the key tables of the configuration" if IN_CHECKOUT else "VectorDatabaseArgs(tables=...)"
MISSING_TABLE_REMEDY = f"Add the migration that makes it, or fix its name in {_TABLES}"
_RESERVED = ("pg_", "pgvector_seed")


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The declaration of a deployment, beyond its migrations.

    ``tables`` maps a table's name, without its schema, to its declaration. ``connection`` holds no user and no secret.
    ``roles`` maps owner, writer and reader to their names, or is empty: then the deploying role owns the tables.
    ``reader_settings`` maps the settings of the reader's sessions, or of all sessions without roles, to their values.
    """

    schema: str = "public"
    on_destroy: str = "retain"
    # The first pgvector without the known corruptions of an HNSW index (its issues 959, 988 and 993).
    minimum_version: str = "0.8.4"
    connection: DeclaredConnection = DeclaredConnection()
    tables: Mapping[str, TableDeclaration] = msgspec.field(default_factory=dict)
    roles: Mapping[str, str] = msgspec.field(default_factory=dict)
    reader_settings: Parameters = msgspec.field(default_factory=dict)

    def contract(self, ledger_id: str, migrations: Mapping[str, str], catalogue: Mapping[str, Any]) -> Contract:
        """Return the contract of a deployment with this declaration.

        ``migrations`` maps id to checksum in the order of the ledger. ``catalogue`` is ``{"schema": the extension's,
        "tables": vector_tables(...)}``, as it was in the transaction of the last migration.

        Raises InputError if a declared table is missing from ``catalogue``.
        """
        self._refuse_missing_tables({entry["table"] for entry in catalogue["tables"]})
        definitions = self.indexes(catalogue)
        checksums = [{"id": id_, "checksum": checksum} for id_, checksum in migrations.items()]
        data = {
            "contract": CONTRACT,
            "connection": as_data(self.connection),
            "extension": {"name": EXTENSION, "schema": catalogue["schema"], "minimum": self.minimum_version},
            "ledger": {"id": ledger_id, "migrations": checksums},
            "tables": [self._table(entry, definitions) for entry in catalogue["tables"]],
        }
        # The owner is in the entry of each table.
        roles = {kind: name for kind, name in self.roles.items() if kind != "owner"}
        optional = {"roles": roles, "readerSettings": dict(self.reader_settings)}
        return convert(data | {key: value for key, value in optional.items() if value}, "of this deployment")

    def _refuse_missing_tables(self, names: set[str]) -> None:
        missing = self.tables.keys() - names
        if missing:
            name = min(missing)
            raise InputError(
                f"the stack declares the table {name}, and the schema {self.schema} has no such table with vectors",
                MISSING_TABLE_REMEDY,
            )

    def indexes(self, catalogue: Mapping[str, Any]) -> list[IndexDefinition]:
        """Return the declared indexes. ``catalogue`` is as in ``contract``. Raises InputError for an incomplete one."""
        return declared_indexes(self.schema, self.tables, catalogue["tables"])

    def _table(self, entry: Mapping[str, Any], definitions: Sequence[IndexDefinition]) -> dict[str, Any]:
        declared = as_data(self.tables.get(entry["table"], TableDeclaration()))
        declared.pop("index", None)
        table = {key: value for key, value in entry.items() if key != "table"} | declared
        indexes = list(indexes_of_column(definitions, entry))
        return {**table, "indexes": indexes} if indexes or "indexes" in entry else table


prepare_type(Declaration)
NOTHING_DECLARED = Declaration()


def refuse_unreadable(declaration: Declaration) -> None:
    """Raise InputError for a declaration that could not be read again, once it is recorded."""
    try:
        msgspec.convert(as_data(declaration), Declaration)
    except (msgspec.ValidationError, TypeError) as error:  # TypeError: there is no JSON for it
        raise InputError(f"the declaration cannot be recorded: {error}", "Fix the declaration.") from error


def fault_of_schema(name: str) -> str | None:
    """Return the fault in the name of a deployment's schema, or None."""
    if fault := fault_of_identifier(name):
        return fault
    # A search_path expands $user even in quotes.
    reserved = name.startswith(_RESERVED) or name in ("$user", "information_schema")
    return f"{name!r} is reserved" if reserved else None
