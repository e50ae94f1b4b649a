"""The state of a declared index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.catalog import CatalogIndex, indexes_below, named_indexes
from pgvector_seed.vectors.index.compare import all_differences, is_ours
from pgvector_seed.vectors.index.definition import NEW, OLD, IndexDefinition
from pgvector_seed.vectors.index.lock import find_index_builder
from pgvector_seed.vectors.index.partitions import partitions, tables_of, unattached
from pgvector_seed.vectors.index.rows import LeftOut, count_left_out
from pgvector_seed.vectors.index.steps import CURRENT
from pgvector_seed.vectors.index.target import IndexTarget, resolve

_BYTES = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM unnest(%s::oid[]) AS oid"


@dataclass(frozen=True)
class IndexState:
    """The state of a declared index, and the size in bytes of the index that has its name.

    ``differences`` are those from the declaration, in words. ``pid`` is the server process of a build, ``percent`` the
    done part of its current phase. ``leftovers`` are NAME_new and NAME_old, which the next build uses or drops.
    ``left_out`` are the rows that the index leaves out, or None if they were not counted.
    """

    kind: Literal["absent", "building", "invalid", "differs", "ready"]
    differences: Sequence[str] = ()
    pid: int | None = None
    percent: int | None = None
    bytes: int = 0
    leftovers: Sequence[str] = ()
    left_out: LeftOut | None = None


def index_state(connection: Connection, definition: IndexDefinition, *, count_rows: bool = False) -> IndexState:
    """Return the state of a declared index. ``count_rows`` reads the whole table for the rows that it leaves out.

    Raises InputError if its table or column does not exist.
    """
    target = resolve(connection, definition)
    names = [definition.name + suffix for suffix in (CURRENT, NEW, OLD)]
    indexes = named_indexes(connection, definition.schema, names)
    index = indexes.get(definition.name)
    left_out = count_left_out(connection, target) if count_rows else None
    leftovers = tuple(name for name in names[1:] if name in indexes)
    size = _size(connection, index) if index else 0
    if builder := _builder(connection, target, list(indexes.values())):
        return IndexState("building", (), *builder, size, leftovers, left_out)
    if index is None:
        return IndexState("absent", leftovers=leftovers, left_out=left_out)
    words = _differences(connection, target, index)
    kind: Literal["invalid", "differs", "ready"] = "ready"
    if not index.valid and is_ours(target, index):
        kind = "invalid"
    elif words:
        kind = "differs"
    return IndexState(kind, words, None, None, size, leftovers, left_out)


def _differences(connection: Connection, target: IndexTarget, index: CatalogIndex) -> list[str]:
    if index.table is None:
        return ["it is not an index"]
    if not is_ours(target, index):
        definition = target.definition
        columns = "" if index.table != target.table else ", on another column"
        return [f"it is on {printable(index.table_name)}{columns}, not on {definition.table}.{definition.column}"]
    return all_differences(connection, target, index)


def _size(connection: Connection, index: CatalogIndex) -> int:
    oids = [index.oid, *(part.oid for part in indexes_below(connection, index.oid))]
    ((size,),) = query_catalog(connection, _BYTES, (oids,))
    return int(size)


def _builder(connection: Connection, target: IndexTarget, indexes: list[CatalogIndex]) -> tuple[int, int | None] | None:
    """Return the server process that builds one of the ``indexes``, and the per cent done, or None if none does."""
    row = find_index_builder(connection, tables_of(connection, target.table))
    if row is None:
        return None
    built, percent, _, pid = row
    oids = [index.oid for index in indexes]
    for part in partitions(connection, target.table):
        oids += [index.oid for index in unattached(connection, target.definition.name, part, target.definition.column)]
    return (pid, percent) if built is None or built in oids else None
