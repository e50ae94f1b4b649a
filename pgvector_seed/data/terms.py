"""Sums and differences of stored vectors, such as king - man + woman, as the query of a search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgvector import SparseVector
from psycopg import RawCursor, sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean, printable
from pgvector_seed.data.asking import searching
from pgvector_seed.data.query_vector import CLASSES, dimensions_of
from pgvector_seed.data.search import Search
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import Selection

_SIGNS = {"+": 1, "-": -1}
_TOKEN = re.compile(r"""'((?:[^']|'')*)'(?=\s|$)|"((?:[^"]|"")*)"(?=\s|$)|(\S+)""")
_EXAMPLE = "Such as: 'king - man + woman', with spaces around + and -, and quotes around a term that has spaces"

# The operator of the type's own schema: for citext, that of pg_catalog compares as text.
_EQUAL = """
SELECT n.nspname FROM pg_type t
JOIN pg_operator o ON o.oprname = '=' AND o.oprleft = t.oid AND o.oprright = t.oid AND o.oprnamespace = t.typnamespace
JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE t.oid = %s
"""
_IS_KEY = "{key} OPERATOR({schema}.=) {word}"
_STORED = "SELECT {vector} FROM {table} WHERE {is_key} LIMIT 2"


@dataclass(frozen=True)
class Term:
    """A stored vector in a sum, by the key of its row. ``sign`` is 1 or -1."""

    word: str
    sign: int = 1


@dataclass(frozen=True)
class Key:
    """The column that names the rows of a sum. ``schema`` is that of its operator =."""

    column: str
    schema: str

    def is_(self, word: sql.Composable) -> sql.Composed:
        """Return the condition that a row has this key."""
        names = {"key": sql.Identifier(self.column), "schema": sql.Identifier(self.schema)}
        return sql.SQL(_IS_KEY).format(**names, word=word)


def parse_sum(text: str) -> tuple[Term, ...]:
    """Return the terms of a sum. + and - are operators if they stand between spaces; elsewhere they are part of a word.

    A term in quotes may have spaces, and a doubled quote stands for one. Raises InputError for anything else.
    """
    tokens = [_token(*match.groups()) for match in _TOKEN.finditer(text)]
    if not tokens:
        raise InputError("the sum has no term", _EXAMPLE)
    has_sign = len(tokens) > 1 and tokens[0] in _SIGNS and tokens[1] not in _SIGNS
    if not has_sign:
        tokens.insert(0, "+")
    for place, operator in enumerate(tokens[::2]):
        if operator not in _SIGNS:
            before = _shown(tokens[2 * place - 1])
            raise InputError(f"the sum has neither + nor - between {before} and {_shown(operator)}", _EXAMPLE)
    if len(tokens) % 2:
        raise InputError(f"the sum has no term after its last {tokens[-1]}", _EXAMPLE)
    terms = (term.word if isinstance(term, _Quoted) else term for term in tokens[1::2])
    return tuple(Term(word, _SIGNS[str(sign)]) for sign, word in zip(tokens[::2], terms, strict=True))


@dataclass(frozen=True)
class _Quoted:
    """A term in quotes, which is never an operator."""

    word: str


def _token(single: str | None, double: str | None, plain: str) -> str | _Quoted:
    if single is not None:
        return _Quoted(single.replace("''", "'"))
    return _Quoted(double.replace('""', '"')) if double is not None else plain


def _shown(token: str | _Quoted) -> str:
    return printable(token.word if isinstance(token, _Quoted) else token)


def find_key(connection: Connection, target: Target, column: str | None) -> Key:
    """Return the key by which rows are named: the column, or the primary key if it is None.

    Raises InputError if the column does not exist, or the table has no primary key of one column.
    """
    if column is None and len(target.key) != 1:
        has = f"the columns {', '.join(target.key)} as its primary key" if target.key else "no primary key"
        raise InputError(f"{target.shown} has {has}", "Name the column that tells the row: --key COLUMN")
    name = target.key[0] if column is None else column
    if name not in target.columns:
        near = did_you_mean(name, target.columns)
        raise InputError(f"{target.shown} has no column {name}{near}", f"Its columns: {', '.join(target.columns)}")
    if column is None:
        return Key(name, target.equal[0][0])
    rows = query_catalog(connection, _EQUAL, (target.columns[name].type_oid,))
    return Key(name, rows[0][0] if rows else "pg_catalog")


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
        raise InputError(f"{target.shown} has no row with {row}{hint}", _remedy(word))
    if len(rows) > 1:
        raise InputError(f"{target.shown} has several rows with {row}", "Name another column: --key COLUMN")
    if rows[0][0] is None:
        raise InputError(f"the row with {row} has no vector: {target.vector.name} is NULL")
    return CLASSES[target.vector.type].from_binary(rows[0][0])


def _rows(connection: Connection, target: Target, key: Key, word: str) -> list[tuple[Any, ...]]:
    """Return the vectors of at most two rows that have this key."""
    vector = sql.Identifier(target.vector.name)
    statement = sql.SQL(_STORED).format(vector=vector, table=target.sql_name, is_key=key.is_(sql.SQL("$1")))
    with searching():
        return RawCursor(connection).execute(statement, (word,), binary=True).fetchall()


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
