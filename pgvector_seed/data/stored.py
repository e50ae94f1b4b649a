"""Stored vectors, and their sums, as the query of a search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgvector import SparseVector
from psycopg import RawCursor, sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import printable
from pgvector_seed.data.asking import searching
from pgvector_seed.data.query_vector import CLASSES, dimensions_of
from pgvector_seed.data.search import Search
from pgvector_seed.data.sums import Term
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import Selection

# The operator of the type's own schema: for citext, that of pg_catalog compares as text.
_EQUAL = """
SELECT n.nspname FROM pg_type t
JOIN pg_operator o ON o.oprname = '=' AND o.oprleft = t.oid AND o.oprright = t.oid AND o.oprnamespace = t.typnamespace
JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE t.oid = %s
"""
_TEXTS = ("text", "varchar", "bpchar", "citext")  # a term of other types is no word: a UUID or a date has signs
_IS_KEY = "{key} OPERATOR({schema}.=) {word}"
_STORED = "SELECT {vector} FROM {table} WHERE {is_key} LIMIT 2"


@dataclass(frozen=True)
class Key:
    """The column that names the rows of a sum. ``schema`` is that of its operator =."""

    column: str
    schema: str

    def is_(self, word: sql.Composable) -> sql.Composed:
        """Return the condition that a row has this key."""
        names = {"key": sql.Identifier(self.column), "schema": sql.Identifier(self.schema)}
        return sql.SQL(_IS_KEY).format(**names, word=word)


def find_key(connection: Connection, target: Target, column: str | None) -> Key:
    """Return the key by which rows are named: the column, or the primary key if it is None.

    Raises InputError if the column does not exist, or the table has no primary key of one column.
    """
    if column is None and len(target.key) != 1:
        has = f"the columns {', '.join(target.key)} as its primary key" if target.key else "no primary key"
        raise InputError(f"{target.shown} has {has}", "Name the column that tells the row: --key COLUMN")
    if column is None:
        return Key(target.key[0], target.equal[0][0])
    rows = query_catalog(connection, _EQUAL, (target.require_column(column).type_oid,))
    return Key(column, rows[0][0] if rows else "pg_catalog")


def sum_of(connection: Connection, search: Search, key: Key, terms: Sequence[Term]) -> Any:
    """Return the sum of the stored vectors as a query for ``search``. Raises InputError for a term without a vector."""
    type_ = search.target.vector.type
    if len(terms) > 1 and type_ == "bit":
        raise InputError("vectors of bit have no sum", "Ask by one of them: --id")
    vectors = [_stored(connection, search, key, term.word) for term in terms]
    if len(terms) == 1 and terms[0].sign == 1:
        return vectors[0]
    return _added(type_, vectors, [term.sign for term in terms])


def _stored(connection: Connection, search: Search, key: Key, word: str) -> Any:
    """Return the vector of the row that has this key."""
    target = search.target
    rows = _rows(connection, target, key, word)
    row = f"{printable(key.column)} = {printable(word)}"
    if not rows:
        others = [other for other in (word.lower(), word.capitalize()) if other != word]
        near = next((other for other in others if _rows(connection, target, key, other)), None)
        hint = f"; did you mean {printable(near)}?" if near else ""
        remedy = _remedy(word) if target.columns[key.column].type in _TEXTS else ""
        raise InputError(f"{target.shown} has no row with {row}{hint}", remedy)
    if len(rows) > 1:
        raise InputError(f"{target.shown} has several rows with {row}", "Name another column: --key COLUMN")
    if rows[0][0] is None:
        raise InputError(f"the row with {row} has no vector: {target.vector.name} is NULL")
    return CLASSES[target.vector.type].from_binary(rows[0][0])


def _rows(connection: Connection, target: Target, key: Key, word: str) -> list[tuple[Any, ...]]:
    """Return the vectors of at most two rows that have this key."""
    vector = sql.Identifier(target.vector.name)
    statement = sql.SQL(_STORED).format(vector=vector, table=target.sql_name, is_key=key.is_(sql.SQL("$1")))
    try:
        with searching():
            return RawCursor(connection).execute(statement, (word,), binary=True).fetchall()
    except InputError as error:
        remedy = f"Rows are named by the column {printable(key.column)}. Name another one: --key COLUMN"
        raise InputError(error.message, remedy) from error


def _remedy(word: str) -> str:
    """Return the remedy for an unknown word, which may be a sum without spaces."""
    spaced = re.sub(r"(?<=\w)([+-])(?=\w)", r" \1 ", word)
    return "" if spaced == word else f"A sum needs spaces around + and -: '{printable(spaced)}'"


def _added(type_: str, vectors: Sequence[Any], signs: Sequence[int]) -> Any:
    """Return the sum of vectors, added in double precision. Raises InputError if their dimensions differ."""
    dimensions = {dimensions_of(vector) for vector in vectors}
    if len(dimensions) > 1:
        sizes = " and ".join(f"{size:,}" for size in sorted(dimensions))
        raise InputError(f"the vectors of the sum have {sizes} dimensions")
    if type_ == "sparsevec":
        elements: dict[int, float] = {}
        for vector, sign in zip(vectors, signs, strict=True):
            for index, value in zip(vector.indices(), vector.values(), strict=True):
                elements[index] = elements.get(index, 0.0) + sign * value
        return SparseVector(elements, dimensions.pop())
    signed = [[sign * value for value in vector.to_list()] for vector, sign in zip(vectors, signs, strict=True)]
    return [sum(values) for values in zip(*signed, strict=True)]


def without_rows(search: Search, key: Key, count: int) -> Search:
    """Return a search that leaves out the rows with ``count`` keys, which follow the values of the condition."""
    words = [sql.SQL(f"${search.values + number}") for number in range(1, count + 1)]
    parts = [sql.SQL("({}) IS NOT TRUE").format(key.is_(word)) for word in words]
    if search.selection.condition is not None:
        parts.insert(0, Selection.conjunct(search.selection.condition))
    selection = replace(search.selection, condition=sql.SQL(" AND ").join(parts))
    return replace(search, selection=selection, values=search.values + count)
