"""Attribute an error about a damaged file to the relation that the server names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import psycopg

from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.snapshot import query_catalog

from .context import Context
from .model import Outcome, failed

_DAMAGED = ("58030", "58P01", "XX001", "XX002")  # io_error, undefined_file, data_corrupted, index_corrupted
# The file of a relation is in a message of any language: base/5/16389, with a fork or a segment.
_FILE = re.compile(r"(?:base|pg_tblspc/[0-9]+/[^/\s]+)/[0-9]+/([0-9]+)")
# The table, its partitions, their TOAST tables and the indexes of all; and the sequence that has the file.
_RELATIONS = """
WITH tables AS (
  SELECT %(table)s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%(table)s)
), own AS (
  SELECT oid FROM tables UNION ALL SELECT c.reltoastrelid FROM tables t JOIN pg_class c ON c.oid = t.oid
)
SELECT c.relkind, format('%%I.%%I', n.nspname, c.relname), c.relname, pg_relation_filenode(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT oid FROM own)
   OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM own))
   OR c.relkind = 'S' AND pg_relation_filenode(c.oid) = %(file)s
"""
_READERS = frozenset({"column", "rows", "vectors", "sequence", "plan", "recall", "statistics"})
_REINDEX = "REINDEX INDEX {name};\n-- The server's log has the cause. The disk may have damaged more."
_RESTORE = "Restore {name} from a backup: the server's log has the cause."


class Damage(NamedTuple):
    """The failure of the check that is about a damaged relation."""

    check: str
    outcome: Outcome


class _Relation(NamedTuple):
    """A relation: relkind of pg_class, the name for SQL, the name alone, and the number of its file."""

    kind: str
    sql_name: str
    name: str
    file: int | None


def find_damage(error: psycopg.Error, context: Context) -> Damage | None:
    """Return the damage that an error of the server tells; None if it names no relation of the context's table."""
    message = error.diag.message_primary
    if error.sqlstate not in _DAMAGED or message is None or context.table_name is None or context.relation is None:
        return None
    match = _FILE.search(message)
    file = int(match[1]) if match else None
    relation = None
    with suppress(psycopg.Error):  # the error at hand is the one to report
        rows = query_catalog(context.connection, _RELATIONS, {"table": context.table.oid, "file": file})
        relation = _damaged(message, file, [_Relation(*row) for row in rows])
    return relation and _damage(relation, one_line(error))


def _damaged(message: str, file: int | None, relations: Sequence[_Relation]) -> _Relation | None:
    if file is not None:
        return next((relation for relation in relations if relation.file == file), None)
    named = [relation for relation in relations if _is_named(relation.name, message)]
    return max(named, key=lambda relation: len(relation.name), default=None)


def _is_named(name: str, message: str) -> bool:
    """Return True if the message has the name in quotes of any language, or if it is that of a TOAST table."""
    quote = "" if name.startswith("pg_toast_") else r"[^\w\s]"
    return re.search(rf"(?<!\w){quote}{re.escape(name)}{quote}(?!\w)", message) is not None


def _damage(relation: _Relation, words: str) -> Damage:
    message = f"{relation.sql_name} cannot be read: {words}"
    if relation.kind == "i":
        return Damage("index", failed("indexes that can be read", message, _REINDEX.format(name=relation.sql_name)))
    restore = _RESTORE.format(name=relation.sql_name)
    if relation.kind == "S":
        return Damage("sequence", failed("a sequence that can be read", message, restore))
    return Damage("table", failed("a table that can be read", message, restore, blocks=_READERS))
