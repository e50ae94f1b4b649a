"""Giving a deployment to the role that now owns it: a stack that gains roles, or another owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from psycopg import sql

from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.facts import SCHEMA, find_facts
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import Progress
from pgvector_seed.migrate.provenance import refuse_another_schema
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot

_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def reassign(connection: Connection, schema: str, report: Progress) -> None:
    """Give the ledger, and all that its owner has in the deployment's ``schema``, to the role of this session.

    It is done with the rights of the login, and only where the login could write to that ledger. What others own
    there is left alone.
    """
    with before_handover(connection) as parties:
        if parties is None:
            return
        giver, taker = parties
        ledger = read_ledger(connection, to_write=True)
        assert ledger is not None, "its owner was just seen"
        refuse_another_schema(ledger.declaration.schema, schema)
        whole = [SCHEMA, schema] if ledger.schema_created else [SCHEMA]
        statements = [_give("SCHEMA", sql.Identifier(name), taker) for name in whole]
        for name in (SCHEMA, schema):
            statements += [_give(kind, sql.SQL(identity), taker) for kind, identity in _owned(connection, name, giver)]
        for statement in statements:
            connection.execute(statement)
        write.promise_nothing(connection)
    report(f"{len(statements)} objects of {giver} in {schema} and {SCHEMA} belong to {taker} now")


@contextmanager
def before_handover(connection: Connection) -> Iterator[tuple[str, str] | None]:
    """Begin a transaction, with the rights of the login, if the ledger is another's than the role of this session.

    Yields the two, giver and taker; or None, without a transaction, if there is nothing to give.
    """
    if _parties(connection) is None:
        yield None
        return
    with connection.transaction():
        connection.execute(_ONE_SNAPSHOT)
        parties = _parties(connection)  # again: the ledger is read in this snapshot
        if parties:
            connection.execute("SET LOCAL ROLE NONE")
        yield parties


def _parties(connection: Connection) -> tuple[str, str] | None:
    with catalog_snapshot(connection):
        facts = find_facts(connection)
    return None if facts.owner in (None, facts.role) or facts.role == facts.login else (facts.owner, facts.role)


def _owned(connection: Connection, schema: str, owner: str) -> list[tuple[Any, ...]]:
    """Kind and name of each, as ALTER ... OWNER TO takes them: the server has quoted the names."""
    query = files("pgvector_seed.migrate").joinpath("handover.sql").read_bytes()
    with catalog_snapshot(connection):
        return connection.execute(query, {"schema": schema, "owner": owner}).fetchall()


def _give(kind: str, name: sql.Composable, taker: str) -> sql.Composed:
    return sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), name, sql.Identifier(taker))
