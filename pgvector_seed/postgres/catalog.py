"""Roles, tables, columns, owned relations and index builds in the system catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import errors

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import fault_of_text
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

_LONGEST_NAME = 63  # bytes; NAMEDATALEN less 1

_AS_IN_SQL = 'Write it as in SQL: public.items, "My schema".items'

_PARTS = "SELECT pg_catalog.parse_ident(%s)"
_PARTS_OF_ALL = """
SELECT pg_catalog.parse_ident(name)
FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS names (name, place)
ORDER BY place
"""
_PATH = "SELECT pg_catalog.current_schemas(false)"
# For a name without a schema: the first schema on the search_path that has the table.
_ON_PATH = """
SELECT n.nspname
FROM unnest(%s::name[]) WITH ORDINALITY AS path (schema, place)
JOIN pg_namespace n ON n.nspname = path.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = %s
ORDER BY path.place
LIMIT 1
"""
_RELATION = """
SELECT c.oid, c.relkind, pg_get_userbyid(c.relowner), c.relrowsecurity,
       children.own, children.of_extensions
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(name ORDER BY name) FILTER (WHERE NOT of_extension), '{}') AS own,
         count(*) FILTER (WHERE of_extension) AS of_extensions
  FROM (SELECT format('%%I.%%I', s.nspname, t.relname) AS name,
               EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'e'
                         AND (d.classid, d.objid) IN (('pg_class'::regclass, t.oid), ('pg_namespace'::regclass, s.oid))
                      ) AS of_extension
        FROM pg_inherits i JOIN pg_class t ON t.oid = i.inhrelid JOIN pg_namespace s ON s.oid = t.relnamespace
        WHERE i.inhparent = c.oid AND NOT t.relispartition) AS child) AS children
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMN = """
SELECT a.attnum, t.typname, n.nspname, a.atttypmod, a.attnotnull, coalesce(a.attstattarget, -1) <> 0
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE a.attrelid = %s AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_COLUMN_TYPE = """
SELECT format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND NOT a.attisdropped
"""
# Of another role's build, a login without the rights of pg_read_all_stats sees the process and the database alone.
_BUILDER = """
SELECT pid, index_relid IS NOT NULL
FROM pg_catalog.pg_stat_progress_create_index
WHERE datname = pg_catalog.current_database() AND (index_relid = %s::oid OR index_relid IS NULL)
ORDER BY index_relid
LIMIT 1
"""
_ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
# The tables, views and sequences that current_user owns.
_OWNED = """
SELECT c.relname, c.relkind = 'S'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND pg_get_userbyid(c.relowner) = current_user
ORDER BY 1
"""


@dataclass(frozen=True)
class TableName:
    """The name of a table and of its schema, unquoted."""

    schema: str
    table: str


@dataclass(frozen=True)
class Relation:
    """A table, view or foreign table. ``kind`` is relkind of pg_class.

    ``children`` are the tables that inherit from it and are no partitions, schema-qualified and quoted. Those in a
    schema of an extension, which keeps them, are only counted: ``chunks``.
    """

    oid: int
    kind: str
    owner: str
    row_security: bool
    children: list[str]
    chunks: int


@dataclass(frozen=True)
class Column:
    """A column. ``modifier`` is atttypmod: the dimensions of a vector type, or -1 if they are not declared.

    ``wants_statistics`` is False if its statistics target is 0.
    """

    number: int
    type: str
    type_schema: str
    modifier: int
    not_null: bool
    wants_statistics: bool


class IndexBuilder(NamedTuple):
    """A server process that builds an index. It may be another index of the database if it is not ``certain``."""

    pid: int
    certain: bool


def fault_of_identifier(name: str) -> str | None:
    """Return the fault of a name that PostgreSQL would refuse or cut off, or None."""
    is_long = len(name.encode(errors="replace")) > _LONGEST_NAME
    return f"must have at most {_LONGEST_NAME} bytes, PostgreSQL's limit for a name" if is_long else fault_of_text(name)


def parse_name(connection: Connection, text: str) -> TableName:
    """Return the table that ``text`` names as in SQL: ``items``, ``public.items``, ``"My schema"."Items"``.

    Without a schema, it is searched on the search_path; if no schema there has the table, the schema is public.

    Raises InputError if ``text`` is not a valid table name.
    """
    try:
        row = connection.execute(_PARTS, (text,)).fetchone()
    except errors.InvalidParameterValue as error:
        raise InputError(f"{text} is not a valid table name", _AS_IN_SQL) from error
    assert row is not None
    *schema, table = row[0]
    if len(schema) > 1:
        raise InputError(f"{text} has more parts than a schema and a table", _AS_IN_SQL)
    if not schema:
        ((path,),) = connection.execute(_PATH).fetchall()
        rows = query_catalog(connection, _ON_PATH, (path, table))
        schema = [rows[0][0] if rows else "public"]
    return TableName(schema[0], table)


def parse_names(connection: Connection, texts: Sequence[str]) -> list[TableName]:
    """Return the tables of several texts, as ``parse_name`` does. One query serves all that have a schema."""
    try:
        rows = connection.execute(_PARTS_OF_ALL, (list(texts),)).fetchall()
    except errors.InvalidParameterValue:
        rows = [((),)] * len(texts)  # parse_name tells which one
    return [
        TableName(*parts) if len(parts) == 2 else parse_name(connection, text)
        for text, (parts,) in zip(texts, rows, strict=True)
    ]


def role_exists(connection: Connection, name: str) -> bool:
    """Return True if the server has a role of that name."""
    return query_catalog(connection, _ROLE_EXISTS, (name,)) == [(True,)]


def find_relation(connection: Connection, name: TableName) -> Relation | None:
    """Return the relation of that name, or None if it does not exist."""
    row = connection.execute(_RELATION, (name.schema, name.table)).fetchone()
    return Relation(*row) if row else None


def find_column(connection: Connection, oid: int, name: str) -> Column | None:
    """Return the column of that name in the relation ``oid``, or None if it does not exist."""
    row = connection.execute(_COLUMN, (oid, name)).fetchone()
    return Column(*row) if row else None


def find_builder(connection: Connection, index: int) -> IndexBuilder | None:
    """Return the process that builds the index with this oid, or may build it; None if there is none."""
    row = connection.execute(_BUILDER, (index,)).fetchone()
    return IndexBuilder(*row) if row else None


def owned_relations(connection: Connection, schema: str) -> tuple[list[str], list[str]]:
    """Return the names of the tables and views in ``schema`` that current_user owns, and of its sequences."""
    rows = query_catalog(connection, _OWNED, (schema,))
    return [name for name, is_sequence in rows if not is_sequence], [name for name, is_sequence in rows if is_sequence]


def column_type(connection: Connection, schema: str, table: str, column: str) -> str | None:
    """Return the type of a column with its dimensions, such as ``vector(4)``, or None if the column does not exist."""
    rows = query_catalog(connection, _COLUMN_TYPE, (schema, table, column))
    return rows[0][0] if rows else None
