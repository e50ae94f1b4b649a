"""Reading the catalogue: the extension and the tables that hold vectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from postgres.connection import Connection, nothing_on_path
from postgres.errors import InputError
from postgres.metrics import INDEX_DEFAULTS, metric_of

EXTENSION = "vector"

_EXTENSION = """
SELECT n.nspname, e.extversion
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = %s
"""

_AVAILABLE = "SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = %s"
# A partition is judged with the table it belongs to. The types of the extension count, and bit where an index of the
# extension says that it is searched.
_VECTOR_TABLES = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname),
       c.relname,
       pg_catalog.pg_get_userbyid(c.relowner),
       (SELECT k.attname
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1),
       a.attname,
       t.typname,
       nullif(a.atttypmod, -1),
       ARRAY(SELECT pg_catalog.jsonb_build_object(
                      'name', x.relname, 'method', m.amname, 'class', o.opcname,
                      'parameters', (SELECT pg_catalog.jsonb_object_agg(option_name, option_value)
                                     FROM pg_catalog.pg_options_to_table(x.reloptions)))
             FROM pg_catalog.pg_index i
             JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
             JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
             JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
             WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum
             ORDER BY x.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (e.extname = %s OR (t.oid = 'pg_catalog.bit'::regtype
                          AND EXISTS (SELECT FROM pg_catalog.pg_index i
                                      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                                      JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
                                      WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum)))
ORDER BY c.relname, a.attnum
"""

_COLUMN_TYPE = """
SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND NOT a.attisdropped
"""
# What the role of this session owns: tables of all kinds and views, and sequences.
_OWNED = """
SELECT c.relname, c.relkind = 'S'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND pg_catalog.pg_get_userbyid(c.relowner) = current_user
ORDER BY 1
"""


@dataclass(frozen=True)
class Extension:
    """The vector extension as it is installed in a database."""

    schema: str
    version: str


def extension(connection: Connection) -> Extension | None:
    """The vector extension of this database, or None where it is not enabled."""
    with nothing_on_path(connection):
        row = connection.execute(_EXTENSION, (EXTENSION,)).fetchone()
    return Extension(*row) if row else None


def available_version(connection: Connection) -> str | None:
    """The version of pgvector that CREATE EXTENSION, or its UPDATE, would bring; None where none is installed."""
    with nothing_on_path(connection):
        row = connection.execute(_AVAILABLE, (EXTENSION,)).fetchone()
    return row[0] if row else None


def is_older(version: str, minimum: str) -> bool:
    """True when the one version, such as 0.8.0, comes before the other."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def require_extension(connection: Connection) -> Extension:
    """The same; InputError where it is not enabled."""
    found = extension(connection)
    if found is None:
        raise InputError(
            "the extension vector is not enabled in this database",
            "Enable it, as a superuser where it must be: CREATE EXTENSION vector",
        )
    return found


def vector_tables(connection: Connection, schema: str) -> list[dict[str, Any]]:
    """The tables of ``schema`` that hold vectors, one entry per vector column, as the contract writes them."""
    with nothing_on_path(connection):
        return [_entry(*row) for row in connection.execute(_VECTOR_TABLES, (schema, EXTENSION))]


def _entry(
    name: str, table: str, owner: str, key: str | None, column: str, kind: str, dimensions: int | None, indexes: Any
) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "table": table, "id": key, "vector": column, "type": kind}
    entry |= {"dimensions": dimensions, "owner": owner}
    metrics = {metric_of(index["class"]) for index in indexes}
    entry["metric"] = metrics.pop() if len(metrics) == 1 else None
    entry["indexes"] = [
        {"name": index["name"], "method": index["method"], "parameters": _parameters(index)} for index in indexes
    ]
    return {field: value for field, value in entry.items() if value is not None}


def _parameters(index: dict[str, Any]) -> dict[str, int | str]:
    """What the index is built with, also where its definition leaves it to the defaults."""
    said = index["parameters"] or {}
    numbers = {name: int(value) if value.isdecimal() else value for name, value in said.items()}
    return INDEX_DEFAULTS[index["method"]] | numbers


def owned(connection: Connection, schema: str) -> tuple[list[str], list[str]]:
    """The names of the tables and views of ``schema`` that belong to the role of this session, and of the sequences."""
    with nothing_on_path(connection):
        rows = connection.execute(_OWNED, (schema,)).fetchall()
    return [name for name, is_sequence in rows if not is_sequence], [name for name, is_sequence in rows if is_sequence]


def column_type(connection: Connection, schema: str, table: str, column: str) -> str | None:
    """The type with its dimensions, such as ``vector(4)``, or None where there is no such column."""
    with nothing_on_path(connection):
        row = connection.execute(_COLUMN_TYPE, (schema, table, column)).fetchone()
    return row[0] if row else None
