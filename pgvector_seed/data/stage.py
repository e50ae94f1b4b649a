"""Compare a block with the table, and change the rows that differ, by a temporary table.

Vectors are compared here, bit by bit; other columns by the server, whose types may change the values that are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from psycopg import sql

from pgvector_seed.data.block import Array
from pgvector_seed.data.comparison import Comparison, compare_vectors
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.send import PLACE, send
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection

FILLS, DIFFERS = 1, 2  # bits of a verdict

# Once in a session, as each creation leaves rows in the system catalogs.
_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS
SELECT 0::pg_catalog.int8 AS {place}, t.* FROM {table} AS t WITH NO DATA
"""
_COMPARE = "SELECT {selected} FROM {stage} AS s JOIN {table} AS t ON {same_key}"
_REPEATED = """
SELECT pg_catalog.array_agg({place} ORDER BY {place}) FROM {stage}
GROUP BY {key} HAVING pg_catalog.count(*) > 1 LIMIT 1
"""
_FILLS = "(t.{0} IS NULL AND s.{0} IS NOT NULL)"
_DIFFERS = (
    "(t.{0} IS NOT NULL AND s.{0} IS NOT NULL AND NOT"
    " CAST(ROW(t.{0}) AS record) OPERATOR(pg_catalog.*=) CAST(ROW(s.{0}) AS record))"
)
_VERDICT = "CAST(CASE WHEN {fills} THEN 1 ELSE 0 END + CASE WHEN {differs} THEN 2 ELSE 0 END AS pg_catalog.int2)"
_UPDATE = "UPDATE {table} AS t SET {changes} FROM {stage} AS s WHERE {same_key}"


class RaceError(Exception):
    """Another session has changed rows of the block since they were compared."""


class Stage:
    """A temporary table of this session, which holds a block's keys and values until the transaction ends."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self.connection = connection
        self.target = target
        self.place = sql.Identifier(PLACE)
        self.table = sql.Identifier("pg_temp", f"pgvector_seed_block_{target.oid}")
        self.names: dict[str, sql.Composable] = {"table": target.sql_name, "stage": self.table, "place": self.place}
        equal = (
            sql.SQL("t.{0} OPERATOR({1}.{2}) s.{0}").format(*map(sql.Identifier, (name, schema)), sql.SQL(operator))
            for name, (schema, operator) in zip(target.key, target.equal, strict=True)
        )
        self.names["same_key"] = sql.SQL(" AND ").join(equal)
        self.names["key"] = sql.SQL(", ").join(map(sql.Identifier, target.key))
        connection.execute(sql.SQL(_STAGE).format(**self.names))

    def clear(self) -> None:
        """Delete the rows of an earlier step of this transaction."""
        self.connection.execute(sql.SQL("DELETE FROM {}").format(self.table))

    def present(self, rows: Rows) -> Array:
        """Return the places of the rows whose keys are in the table."""
        send(self.connection, self.table, rows.only(self.target.key), places=True)
        stored = self._select(sql.SQL("s.{}").format(self.place))
        return np.fromiter((place for (place,) in stored), np.int64, len(stored))

    def repeated(self) -> list[int]:
        """Return the places of staged rows whose keys are equal for the server, such as a and A in citext, or none."""
        row = self.connection.execute(sql.SQL(_REPEATED).format(**self.names)).fetchone()
        return [] if row is None else list(row[0])

    def compare(self, rows: Rows) -> Comparison:
        """Compare the rows with those of their keys in the table."""
        vector = self.target.vector.name if self.target.vector.name in rows.fixed else None
        send(self.connection, self.table, rows.only([name for name in rows.names if name != vector]), places=True)
        selected = [
            sql.SQL("s.{}").format(self.place),
            _verdict([name for name in rows.names if name not in (*self.target.key, vector)]),
            sql.SQL("NULL") if vector is None else sql.SQL("t.{}").format(sql.Identifier(vector)),
        ]
        stored = self._select(sql.SQL(", ").join(selected))
        places, verdicts = (np.fromiter((row[part] for row in stored), np.int64, len(stored)) for part in (0, 1))
        fills, differs = (verdicts & FILLS) > 0, (verdicts & DIFFERS) > 0
        if vector is not None:
            compared = compare_vectors(places, [row[2] for row in stored], *rows.fixed[vector])
            fills, differs = fills | compared.fills, differs | compared.differs
        return Comparison(places, fills, differs)

    def update(self, rows: Rows, *, replace: bool) -> None:
        """Replace the values of the rows, or fill their NULLs. A NULL in ``rows`` changes nothing."""
        self.clear()
        send(self.connection, self.table, rows, places=True)
        changes = [
            sql.SQL("{0} = coalesce({1}.{0}, {2}.{0})").format(
                sql.Identifier(name), *map(sql.SQL, ("s", "t") if replace else ("t", "s"))
            )
            for name in rows.names
            if name not in self.target.key
        ]
        statement = sql.SQL(_UPDATE).format(**self.names, changes=sql.SQL(", ").join(changes))
        if self.connection.execute(statement).rowcount != len(rows):
            raise RaceError

    def _select(self, selected: sql.Composable) -> list[tuple[Any, ...]]:
        """Return the selected values of the rows whose keys are in the table."""
        statement = sql.SQL(_COMPARE).format(**self.names, selected=selected)
        return self.connection.cursor(binary=True).execute(statement).fetchall()


def _verdict(others: Sequence[str]) -> sql.Composable:
    if not others:
        return sql.SQL("CAST(0 AS pg_catalog.int2)")

    def any_of(condition: str) -> sql.Composable:
        return sql.SQL(" OR ").join(sql.SQL(condition).format(sql.Identifier(name)) for name in others)

    return sql.SQL(_VERDICT).format(fills=any_of(_FILLS), differs=any_of(_DIFFERS))
