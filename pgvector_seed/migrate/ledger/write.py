"""Writing the ledger. Call these functions in a transaction: most run several statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration
from pgvector_seed.migrate.ledger.format import FORMAT, create_tables
from pgvector_seed.migrate.ledger.model import BuiltIndex, Ledger
from pgvector_seed.migrate.ledger.read import read_own_ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import require_extension
from pgvector_seed.vectors.index.definition import with_suffixes
from pgvector_seed.vectors.tables import vector_tables

_INSERT = """
INSERT INTO pgvector_seed.migrations (id, position, checksum, down, duration, version)
SELECT %s, coalesce(max(position), 0) + 1, %s, %s, pg_catalog.make_interval(secs => %s), %s
FROM pgvector_seed.migrations
"""
_UPDATE_TEXTS = "UPDATE pgvector_seed.migrations SET checksum = %s, down = %s WHERE id = %s"
_SET_UNFINISHED = "UPDATE pgvector_seed.deployment SET unfinished = %s"
_CLEAR_ALL = "UPDATE pgvector_seed.deployment SET unfinished = '{}', catalogue = '{}', contract = '{}'"
_CLEAR_CONTRACT = "UPDATE pgvector_seed.deployment SET catalogue = '{}', contract = '{}'"
# Names are quoted for SQL.
_GRANTEES = """
SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid
CROSS JOIN LATERAL aclexplode(array_cat(n.nspacl, c.relacl)) g
WHERE n.nspname = 'pgvector_seed' AND g.grantee <> c.relowner
"""
_SCHEMA_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"


def create_missing_schema(connection: Connection, declaration: Declaration) -> bool:
    """Create the deployment's schema if it is missing. Returns True if it was."""
    exists = query_catalog(connection, _SCHEMA_EXISTS, (declaration.schema,)) == [(True,)]
    if not exists:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(declaration.schema)))
    return not exists


def create(connection: Connection, declaration: Declaration, *, schema_created: bool) -> None:
    """Create the ledger. ``schema_created`` is the result of ``create_missing_schema``."""
    create_tables(connection)
    _revoke_all(connection, [sql.SQL(quoted) for (quoted,) in query_catalog(connection, _GRANTEES)])
    connection.execute(
        "INSERT INTO pgvector_seed.deployment (format, declaration, schema_created) VALUES (%s, %s, %s)",
        (FORMAT, Jsonb(as_data(declaration)), schema_created),
    )


def _revoke_all(connection: Connection, grantees: Iterable[sql.SQL]) -> None:
    """Revoke the privileges that ALTER DEFAULT PRIVILEGES of the owner granted on the new ledger."""
    for name in grantees:
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA pgvector_seed FROM {}").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON SCHEMA pgvector_seed FROM {}").format(name))


def record_applied(connection: Connection, migration: Migration, seconds: float = 0) -> None:
    """Record a migration as applied, and clear the contract until ``record_declaration``."""
    connection.execute(_INSERT, (migration.id, migration.checksum, migration.down, seconds, VERSION))
    connection.execute(_CLEAR_ALL)


def record_begun(connection: Connection, unfinished: dict[str, str]) -> None:
    """Record a statement that runs outside of a transaction, as ``Ledger.unfinished``."""
    connection.execute(_SET_UNFINISHED, (Jsonb(unfinished),))


def clear_begun(connection: Connection) -> None:
    """Record that no statement is unfinished."""
    record_begun(connection, {})


def record_texts(connection: Connection, migration: Migration) -> None:
    """Record the checksum and the down of an applied migration as they are in its files now."""
    connection.execute(_UPDATE_TEXTS, (migration.checksum, migration.down, migration.id))


def record_undone(connection: Connection, id_: str) -> None:
    """Remove a migration from the ledger, and clear the contract until ``record_declaration``."""
    connection.execute("DELETE FROM pgvector_seed.migrations WHERE id = %s", (id_,))
    connection.execute(_CLEAR_ALL)


def clear_contract(connection: Connection) -> None:
    """Remove the contract, and the tables in the catalog that it was made from."""
    connection.execute(_CLEAR_CONTRACT)


def record_declaration(connection: Connection, declaration: Declaration) -> None:
    """Record the declaration, and the contract that follows from it and the catalog.

    The catalog is read once, after the last migration: a later change by hand does not enter the contract.
    """
    ledger = read_own_ledger(connection)
    same_roles = ledger.declaration.roles == declaration.roles  # other roles, other owners of tables
    catalogue = (ledger.catalogue if same_roles else {}) or _read_catalogue(connection, declaration, ledger.indexes)
    contract = as_data(declaration.contract(ledger.id, ledger.checksums, catalogue))
    connection.execute(
        "UPDATE pgvector_seed.deployment SET declaration = %s, catalogue = %s, contract = %s",
        (Jsonb(as_data(declaration)), Jsonb(catalogue), Jsonb(contract)),
    )


def _read_catalogue(connection: Connection, declaration: Declaration, built: Sequence[BuiltIndex]) -> dict[str, Any]:
    """Return the extension's schema and the tables, without the indexes that were ``built`` as declared."""
    names = {(index.table, name) for index in built for name in with_suffixes([index.name])}
    tables = [
        {**entry, "indexes": [index for index in entry["indexes"] if (entry["table"], index["name"]) not in names]}
        for entry in vector_tables(connection, declaration.schema)
    ]
    return {"schema": require_extension(connection).schema, "tables": tables}


def record_built(connection: Connection, indexes: Iterable[BuiltIndex]) -> None:
    """Record the declared indexes that exist or are about to be built."""
    record = [msgspec.structs.asdict(index) for index in sorted(indexes, key=lambda index: index.name)]
    connection.execute("UPDATE pgvector_seed.deployment SET indexes = %s", (Jsonb(record),))


def declaration_changes(ledger: Ledger, declaration: Declaration) -> bool:
    """Return True if ``record_declaration`` would change the ledger."""
    if not ledger.catalogue or ledger.declaration != declaration:
        return True
    return ledger.contract != as_data(declaration.contract(ledger.id, ledger.checksums, ledger.catalogue))


def drop(connection: Connection, ledger: Ledger) -> None:
    """Drop the ledger, and the deployment's schema if ``create_missing_schema`` made it and it is empty."""
    connection.execute("DROP TABLE pgvector_seed.migrations, pgvector_seed.deployment")
    connection.execute("DROP SCHEMA pgvector_seed")
    if ledger.schema_created:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(ledger.declaration.schema)))
        except errors.DependentObjectsStillExist:
            pass
