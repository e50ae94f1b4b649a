"""Compare a block with the table by the range of its keys, if they are integers with few gaps.

The server then reads a range of the primary key's index, and no keys are sent. Other blocks need ``stage``.
"""

from __future__ import annotations

from itertools import compress

import numpy as np
from psycopg import sql

from pgvector_seed.data.block import Array
from pgvector_seed.data.comparison import Comparison, compare_vectors
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection

_GAPS = 2  # keys in the range, at most, for each row of the block: the others are read for nothing
_INTEGERS = ("int2", "int4", "int8")
_RANGE = """
SELECT {selected} FROM {table} AS t
WHERE t.{key} OPERATOR(pg_catalog.>=) {first}::pg_catalog.int8
  AND t.{key} OPERATOR(pg_catalog.<=) {last}::pg_catalog.int8
"""


def has_key_range(rows: Rows, target: Target) -> bool:
    """Return True if the keys of the rows are integers with few gaps."""
    type_, keys = rows.fixed.get(target.key[0], ("", np.empty(0)))
    is_single = len(target.key) == 1 and type_ in _INTEGERS and len(keys) > 0
    return is_single and int(keys[-1]) - int(keys[0]) < _GAPS * len(keys)


def present_in_range(connection: Connection, target: Target, rows: Rows) -> Array:
    """Return the places of the rows whose keys are in the table."""
    selected = sql.SQL("pg_catalog.array_agg(t.{})").format(sql.Identifier(target.key[0]))
    row = connection.cursor(binary=True).execute(_range(target, rows, selected)).fetchone()
    places: Array = _places(rows, target, np.array((row and row[0]) or [], np.int64))[0]
    return places


def compare_in_range(connection: Connection, target: Target, rows: Rows) -> Comparison:
    """Compare rows that have a key and a vector alone. See ``compare_vectors``."""
    key, vector = target.key[0], target.vector.name
    selected = sql.SQL("t.{}, t.{}").format(sql.Identifier(key), sql.Identifier(vector))
    stored = connection.cursor(binary=True).execute(_range(target, rows, selected)).fetchall()
    places, is_ours = _places(rows, target, np.fromiter((key for key, _ in stored), np.int64, len(stored)))
    vectors = [value for _, value in stored]
    if not is_ours.all():
        vectors = list(compress(vectors, is_ours))
    return compare_vectors(places, vectors, *rows.fixed[vector])


def _range(target: Target, rows: Rows, selected: sql.Composable) -> sql.Composed:
    keys = rows.fixed[target.key[0]][1]
    return sql.SQL(_RANGE).format(
        selected=selected,
        table=target.sql_name,
        key=sql.Identifier(target.key[0]),
        first=sql.Literal(int(keys[0])),
        last=sql.Literal(int(keys[-1])),
    )


def _places(rows: Rows, target: Target, stored: Array) -> tuple[Array, Array]:
    """Return the places of the ``stored`` keys, all in the range, and for each stored key if the block has it."""
    keys = rows.fixed[target.key[0]][1]
    places = np.searchsorted(keys, stored)
    is_ours = keys[places] == stored
    return places[is_ours], is_ours
