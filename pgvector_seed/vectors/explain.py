"""The scans that the planner chooses for the nearest-neighbor query."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import RawCursor, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn

# The server makes this many custom plans for a prepared statement before it considers a generic one (plancache.c).
CUSTOM_PLANS = 5
_CHANGED = """
SELECT name, setting, source, boot_val FROM pg_catalog.pg_settings
WHERE category LIKE 'Query Tuning%' AND setting OPERATOR(pg_catalog.<>) boot_val ORDER BY name
"""
_SET = "SELECT pg_catalog.set_config(%s, %s, true)"
_HAS_GENERIC_PLANS = "SELECT pg_catalog.current_setting('plan_cache_mode') OPERATOR(pg_catalog.=) 'force_generic_plan'"


@dataclass(frozen=True)
class Scan:
    """The scan of a table or partition. ``index`` is None for a sequential scan, ``relation`` for a bitmap's index.

    ``ordered`` is True if the index gives the order of the rows.
    """

    node: str
    relation: str | None
    index: str | None
    ordered: bool = False


class PlannerSetting(NamedTuple):
    """A cost or a switch of the planner that is not PostgreSQL's default. ``source`` is as in pg_settings.

    ``tablespace`` is the one that has the cost, quoted for SQL, or None.
    """

    name: str
    value: str
    source: str
    default: str
    tablespace: str | None = None


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


def plan_asked(connection: Connection, statement: bytes, parameters: Sequence[Any]) -> list[Scan]:
    """Return the scans of a statement with parameters, as the server plans it for this session."""
    is_generic = connection.execute(_HAS_GENERIC_PLANS).fetchone() == (True,)
    explain = b"EXPLAIN (FORMAT JSON, GENERIC_PLAN) " if is_generic else b"EXPLAIN (FORMAT JSON) "
    cursor = RawCursor(connection)
    # Without parameters, a message of the simple protocol: in the other one, EXPLAIN would miss their values.
    row = cursor.execute(explain + statement, None if is_generic else parameters).fetchone()
    assert row is not None
    return list(_scans(row[0][0]["Plan"]))


def changed_settings(connection: Connection) -> list[PlannerSetting]:
    """Return the planner's costs and switches that are not PostgreSQL's defaults in this session."""
    return [PlannerSetting(*row) for row in connection.execute(_CHANGED)]


def set_locally(connection: Connection, name: str, value: str) -> None:
    """Set one setting until the transaction ends."""
    connection.execute(_SET, (name, value))


def _explain(connection: Connection, statement: sql.Composed) -> list[Scan]:
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + statement).fetchone()
    assert row is not None
    return list(_scans(row[0][0]["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in node or "Index Name" in node:
        yield Scan(node["Node Type"], node.get("Relation Name"), node.get("Index Name"), "Order By" in node)
    for child in node.get("Plans", ()):
        yield from _scans(child)
