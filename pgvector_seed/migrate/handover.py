"""Giving a deployment to a new owner, for a stack that gains roles or changes its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from psycopg import sql

from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.facts import SCHEMA, read_facts
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.provenance import refuse_another_schema
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.snapshot import query_catalog

_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def reassign(connection: Connection, schema: str, report: Progress) -> None:
    """Give the ledger, and its owner's objects in the deployment's ``schema``, to the role of this session.

    Runs with the privileges of the login. Objects of other owners stay as they are.

    Raises RefusedError if the login does not trust the ledger, or the deployment is in another schema.
    """
    with handover_transaction(connection) as owners:
        if owners is None:
            return
        old, new = owners
        ledger = read_ledger(connection, to_write=True)
        assert ledger is not None, "the ledger has an owner"
        refuse_another_schema(ledger.declaration.schema, schema)
        schemas = [SCHEMA, schema] if ledger.schema_created else [SCHEMA]
        statements = [_change_owner("SCHEMA", sql.Identifier(name), new) for name in schemas]
        for name in (SCHEMA, schema):
            objects = _owned_objects(connection, name, old)
            statements += [_change_owner(kind, sql.SQL(identity), new) for kind, identity in objects]
        for statement in statements:
            connection.execute(statement)
        write.clear_contract(connection)
    report(f"{len(statements)} objects of {old} in {schema} and {SCHEMA} belong to {new} now")


@contextmanager
def handover_transaction(connection: Connection) -> Iterator[tuple[str, str] | None]:
    """Run the block in a transaction with the login's privileges if the ledger must pass to this session's role.

    Yields the old and the new owner; or None, without a transaction, if the ledger needs no new owner.
    """
    if _owners(connection) is None:
        yield None
        return
    with connection.transaction():
        connection.execute(_ONE_SNAPSHOT)
        owners = _owners(connection)  # again: the ledger is read in this snapshot
        if owners:
            connection.execute("SET LOCAL ROLE NONE")
        yield owners


def _owners(connection: Connection) -> tuple[str, str] | None:
    facts = read_facts(connection)
    return None if facts.owner in (None, facts.role) or facts.role == facts.login else (facts.owner, facts.role)


def _owned_objects(connection: Connection, schema: str, owner: str) -> list[tuple[Any, ...]]:
    """Return the kind and quoted name of each object, as ALTER ... OWNER TO takes them."""
    query = files("pgvector_seed.migrate").joinpath("handover.sql").read_bytes()
    return query_catalog(connection, query, {"schema": schema, "owner": owner})


def _change_owner(kind: str, name: sql.Composable, owner: str) -> sql.Composed:
    return sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), name, sql.Identifier(owner))
