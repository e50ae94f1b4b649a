"""The INSERT that copies a row of a table, with a new vector and, unless the table generates it, a new id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import VectorColumn

from ..context import Context

_COLUMNS = """
SELECT a.attname, a.attgenerated <> '', a.atthasdef OR a.attidentity <> '', a.attidentity = 'a',
       has_column_privilege(a.attrelid, a.attnum, 'INSERT') AND has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       t.typname
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# The columns of each key of the table or a partition in which no two rows may be equal; none for an expression.
_KEYS = """
SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)),
       i.indexrelid::regclass::text
FROM pg_index i WHERE i.indrelid = ANY (%s::oid[]) AND (i.indisunique OR i.indisexclusion)
"""
_INSERT = """
INSERT INTO {table} ({columns}, {vector}) SELECT {values}, CAST($1 AS {type}) FROM {table} LIMIT 1 RETURNING {id}
"""
_INSERT_ALONE = "INSERT INTO {table} ({vector}) VALUES (CAST($1 AS {type})) RETURNING {id}"
# An id for a new row, if the table generates none.
_NEXT = "(SELECT pg_catalog.max({id}) OPERATOR(pg_catalog.+) 1 FROM {table})"
_IDS = {"int2": _NEXT, "int4": _NEXT, "int8": _NEXT, "uuid": "pg_catalog.gen_random_uuid()"}


class _Column(NamedTuple):
    """A column of the table. ``copied`` is True if this login may read and insert it."""

    name: str
    generated: bool
    has_default: bool
    always: bool
    copied: bool
    type: str


class NotTriedError(Exception):
    """The write cannot be tried; the message says why."""


def compose(column: VectorColumn, id_: str, text: str, **parts: sql.Composable) -> sql.Composed:
    """Return a statement on the table with this vector column and this id."""
    names = {"table": column.relation, "type": column.type_name}
    columns = {"id": sql.Identifier(id_), "vector": sql.Identifier(column.name)}
    return sql.SQL(text).format(**names, **columns, **parts)


def insert_of_copy(context: Context, column: VectorColumn, id_: str) -> sql.Composed:
    """Return the statement that copies a row with $1 as its vector. Raises NotTriedError if no copy can be written."""
    columns = {row[0]: _Column(*row) for row in query_catalog(context.connection, _COLUMNS, (context.table.oid,))}
    if id_ not in columns or columns[column.name].generated:
        raise NotTriedError("the id is missing, or the vector is a generated column")
    left_out = {id_, column.name, *_generated(context, columns, id_)}
    names: list[sql.Composable] = [
        sql.Identifier(name)
        for name, other in columns.items()
        if other.copied and not other.generated and not other.always and name not in left_out
    ]
    values = list(names)
    own = columns[id_]
    if not own.has_default:
        if own.type not in _IDS:
            raise NotTriedError(f"the table generates no {id_}, whose type is {own.type}")
        names.append(sql.Identifier(id_))
        values.append(compose(column, id_, _IDS[own.type]))
    if not names:
        return compose(column, id_, _INSERT_ALONE)
    return compose(column, id_, _INSERT, columns=sql.SQL(", ").join(names), values=sql.SQL(", ").join(values))


def _generated(context: Context, columns: Mapping[str, _Column], id_: str) -> set[str]:
    """Return the columns of keys without the id that get a new value by their default."""
    tables = [context.table.oid, *(leaf.oid for leaf in context.leaves)]
    new: set[str] = set()
    for names, index in query_catalog(context.connection, _KEYS, (tables,)):
        if id_ in names:
            continue
        defaults = {name for name in names if columns[name].has_default}
        if not defaults:
            raise NotTriedError(f"{index} allows no copy of a row")
        new |= defaults
    return new
