"""The scans that the planner chooses for the nearest-neighbor query."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import RawCursor, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn

# The server makes this many custom plans for a prepared statement before it considers a generic one (plancache.c).
CUSTOM_PLANS = 5
_RESET = """
SELECT pg_catalog.set_config(name, boot_val, true) FROM pg_catalog.pg_settings
WHERE category LIKE 'Query Tuning%' AND setting <> boot_val
"""


@dataclass(frozen=True)
class Scan:
    """The scan of a table or partition. ``index`` is None for a sequential scan, ``relation`` for a bitmap's index."""

    node: str
    relation: str | None
    index: str | None


def plan_of(connection: Connection, statement: bytes, parameters: Sequence[object]) -> list[Scan]:
    """Return the scans of a query with $1, $2 and so on for its ``parameters``. Executes nothing."""
    row = RawCursor(connection).execute(b"EXPLAIN (FORMAT JSON) " + statement, parameters, prepare=False).fetchone()
    assert row is not None
    return list(_scans(row[0][0]["Plan"]))


def plan_once(connection: Connection, column: VectorColumn, query: str, k: int) -> list[Scan]:
    """Return the scans of the query with its values in the text."""
    return _explain(connection, column.nearest(sql.Literal(query), sql.Literal(k)))


def plan_cached(connection: Connection, column: VectorColumn, query: str, k: int) -> list[Scan]:
    """Return the scans of the query as a prepared statement, after CUSTOM_PLANS plannings. Executes nothing.

    The server may have chosen the generic plan by then, by its costs and plan_cache_mode.
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
        with contextlib.suppress(psycopg.Error):  # fails in an aborted transaction; the session's end deallocates it
            connection.execute(sql.SQL("DEALLOCATE {}").format(name))


def reset_planner_settings(connection: Connection) -> None:
    """Reset the planner's costs and switches to PostgreSQL's defaults until the transaction ends."""
    connection.execute(_RESET)


def _explain(connection: Connection, statement: sql.Composed) -> list[Scan]:
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + statement).fetchone()
    assert row is not None
    return list(_scans(row[0][0]["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in node or "Index Name" in node:
        yield Scan(node["Node Type"], node.get("Relation Name"), node.get("Index Name"))
    for child in node.get("Plans", ()):
        yield from _scans(child)
