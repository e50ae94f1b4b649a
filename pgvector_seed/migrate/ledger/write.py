"""Writing the ledger. What takes more than one statement runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration
from pgvector_seed.migrate.ledger.format import FORMAT, make
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_own_ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.extension import require_extension
from pgvector_seed.vectors.tables import vector_tables

_APPLIED = """
INSERT INTO pgvector_seed.migrations (id, position, checksum, down, duration, version)
SELECT %s, coalesce(max(position), 0) + 1, %s, %s, pg_catalog.make_interval(secs => %s), %s
FROM pgvector_seed.migrations
"""
_ACCEPT = "UPDATE pgvector_seed.migrations SET checksum = %s, down = %s WHERE id = %s"
_BEGUN = "UPDATE pgvector_seed.deployment SET unfinished = %s"
_FINISHED = "UPDATE pgvector_seed.deployment SET unfinished = '{}', catalogue = '{}', contract = '{}'"
_NO_PROMISE = "UPDATE pgvector_seed.deployment SET catalogue = '{}', contract = '{}'"
# As SQL quotes their names.
_GRANTEES = """
SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid
CROSS JOIN LATERAL aclexplode(array_cat(n.nspacl, c.relacl)) g
WHERE n.nspname = 'pgvector_seed' AND g.grantee <> c.relowner
"""
_SCHEMA_EXISTS = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"


def create(connection: Connection, declaration: Declaration) -> None:
    """Create the ledger, and the deployment's schema if it is missing."""
    make(connection)
    with catalog_snapshot(connection):
        grantees = [sql.SQL(quoted) for (quoted,) in connection.execute(_GRANTEES)]
        missing = connection.execute(_SCHEMA_EXISTS, (declaration.schema,)).fetchone() != (True,)
    _revoke_all(connection, grantees)
    if missing:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(declaration.schema)))
    connection.execute(
        "INSERT INTO pgvector_seed.deployment (format, declaration, schema_created) VALUES (%s, %s, %s)",
        (FORMAT, Jsonb(as_data(declaration)), missing),
    )


def _revoke_all(connection: Connection, grantees: Iterable[sql.SQL]) -> None:
    """Leave no right on the ledger to roles that the default privileges of its owner let in."""
    for name in grantees:
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA pgvector_seed FROM {}").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON SCHEMA pgvector_seed FROM {}").format(name))


def applied(connection: Connection, migration: Migration, seconds: float = 0) -> None:
    """Record a migration as done. Until the last one is, nothing is promised."""
    connection.execute(_APPLIED, (migration.id, migration.checksum, migration.down, seconds, VERSION))
    _finished(connection)


def begun(connection: Connection, unfinished: dict[str, str]) -> None:
    """Record that a ``file``'s one statement (its ``text``) runs outside of a transaction."""
    connection.execute(_BEGUN, (Jsonb(unfinished),))


def nothing_begun(connection: Connection) -> None:
    """Record that nothing is left of what was begun."""
    begun(connection, {})


def accept(connection: Connection, migration: Migration) -> None:
    """Record the texts of an applied migration as they are in its files now."""
    connection.execute(_ACCEPT, (migration.checksum, migration.down, migration.id))


def undone(connection: Connection, id_: str) -> None:
    """Record a migration as undone. From then on nothing is promised."""
    connection.execute("DELETE FROM pgvector_seed.migrations WHERE id = %s", (id_,))
    _finished(connection)


def _finished(connection: Connection) -> None:
    """Record that nothing is begun any more, and nothing promised of what there is now."""
    connection.execute(_FINISHED)


def promise_nothing(connection: Connection) -> None:
    """Forget the contract, and the catalogue that it was made from."""
    connection.execute(_NO_PROMISE)


def declare(connection: Connection, declaration: Declaration) -> None:
    """Record the declaration, and the contract that follows from it and the catalogue.

    The catalogue is read once, with the last migration: a change made by hand later is no promise.
    """
    ledger = read_own_ledger(connection)
    known = ledger.catalogue if ledger.declaration.roles == declaration.roles else {}  # else owners may be others
    catalogue = known or _read_catalogue(connection, declaration)
    promise = as_data(declaration.contract(ledger.id, ledger.checksums, catalogue))
    connection.execute(
        "UPDATE pgvector_seed.deployment SET declaration = %s, catalogue = %s, contract = %s",
        (Jsonb(as_data(declaration)), Jsonb(catalogue), Jsonb(promise)),
    )


def _read_catalogue(connection: Connection, declaration: Declaration) -> dict[str, Any]:
    return {"schema": require_extension(connection).schema, "tables": vector_tables(connection, declaration.schema)}


def declaration_changes(ledger: Ledger, declaration: Declaration) -> bool:
    """Return True if ``declare`` would change the record."""
    if not ledger.catalogue or ledger.declaration != declaration:
        return True
    return ledger.contract != as_data(declaration.contract(ledger.id, ledger.checksums, ledger.catalogue))


def drop(connection: Connection, ledger: Ledger) -> None:
    """Drop the ledger, and the deployment's schema where we made it and nobody else put anything into it."""
    connection.execute("DROP TABLE pgvector_seed.migrations, pgvector_seed.deployment")
    connection.execute("DROP SCHEMA pgvector_seed")
    if ledger.schema_created:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(ledger.declaration.schema)))
        except errors.DependentObjectsStillExist:
            pass
