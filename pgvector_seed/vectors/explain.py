"""What the planner chooses for the reader's query."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn

# The server plans a prepared statement anew this often before it weighs a plan for every value (plancache.c).
CUSTOM_PLANS = 5
_FORGET = """
SELECT pg_catalog.set_config(name, boot_val, true) FROM pg_catalog.pg_settings
WHERE category LIKE 'Query Tuning%' AND setting <> boot_val
"""


@dataclass(frozen=True)
class Scan:
    """How one table or partition is read. ``index`` is "" where none is used."""

    node: str
    relation: str
    index: str


def plan_once(connection: Connection, column: VectorColumn, query: str, k: int) -> list[Scan]:
    """The scans of a query that is sent with its values."""
    return _explain(connection, column.nearest(sql.Literal(query), sql.Literal(k)))


def plan_cached(connection: Connection, column: VectorColumn, query: str, k: int) -> list[Scan]:
    """The scans of the same query as a prepared statement, once the server has settled on a plan.

    That may be the generic plan, which knows no values; whether it is chosen is the server's decision, by its costs
    and by plan_cache_mode. Nothing is executed.
    """
    name = sql.Identifier(f"pgvector_seed_{secrets.token_hex(8)}")
    statement = column.nearest(sql.SQL("$1"), sql.SQL("$2"))
    prepare = sql.SQL("PREPARE {} ({}, pg_catalog.int8) AS {}").format(name, column.type_name, statement)
    execute = sql.SQL("EXECUTE {} ({}, {})").format(name, sql.Literal(query), sql.Literal(k))
    connection.execute(prepare)
    try:
        for _ in range(CUSTOM_PLANS):
            _explain(connection, execute)
        return _explain(connection, execute)
    finally:
        with contextlib.suppress(psycopg.Error):  # a failed transaction; it ends with the session then
            connection.execute(sql.SQL("DEALLOCATE {}").format(name))


def forget_tuning(connection: Connection) -> None:
    """Until the transaction ends, plan with PostgreSQL's own costs and switches, whatever was set."""
    connection.execute(_FORGET)


def _explain(connection: Connection, statement: sql.Composed) -> list[Scan]:
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + statement).fetchone()
    assert row is not None
    return list(_scans(row[0][0]["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in node or "Index Name" in node:
        yield Scan(node["Node Type"], node.get("Relation Name", ""), node.get("Index Name", ""))
    for child in node.get("Plans", ()):
        yield from _scans(child)
