"""The index of a partitioned table: one for each partition, built concurrently and attached to that of the table.

The table's own index is created first, without partitions, so that a partition that is added meanwhile gets its index
from the server. An index of a partition has a name of its own until it is attached, by which the next run finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.catalog import CatalogIndex, indexes_below, named_indexes
from pgvector_seed.vectors.index.compare import differences
from pgvector_seed.vectors.index.definition import LONGEST_NAME
from pgvector_seed.vectors.index.work import IndexBuild

_TREE = """
SELECT c.oid, t.parentrelid::oid, t.isleaf, n.nspname, c.relname, c.relkind
FROM pg_partition_tree(%s::oid) t
JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.level > 0
ORDER BY t.level, c.relname
"""
_LONGEST_PART = LONGEST_NAME - 2  # bytes, for the number
_DIGITS = 8


@dataclass(frozen=True)
class Partition:
    """A partition at any level. ``parent`` is the oid of the table that it is a partition of."""

    oid: int
    parent: int
    leaf: bool
    schema: str
    table: str
    kind: str

    @property
    def sql_name(self) -> sql.Identifier:
        """The quoted name with the schema."""
        return sql.Identifier(self.schema, self.table)


def partitions(connection: Connection, table: int) -> list[Partition]:
    """Return the partitions of a table, each after the one that it is a partition of."""
    return [Partition(*row) for row in query_catalog(connection, _TREE, (table,))]


def tables_of(connection: Connection, table: int) -> list[int]:
    """Return the oids of a table and of its partitions."""
    return [table, *(part.oid for part in partitions(connection, table))]


def refuse_foreign_tables(connection: Connection, table: int, shown: str) -> None:
    """Raise InputError if a partition is a foreign table: the index of the table would never be valid."""
    for part in partitions(connection, table):
        if part.kind == "f":
            raise InputError(
                f"the index {shown}: the partition {printable(part.table)} is a foreign table, which has no index",
                "Detach that partition, or declare an index for each of the others.",
            )


def build_partitions(work: IndexBuild, name: str) -> None:
    """Create the index ``name`` of a partitioned table if it is missing, build what its partitions lack, and attach it.

    Returns early after a build that can be tried again.
    """
    target, connection = work.target, work.connection
    schema = target.definition.schema
    if not named_indexes(connection, schema, [name]):
        work.create_only(name, target.relation, target.table)
    parts = partitions(connection, target.table)
    root = named_indexes(connection, schema, [name])[name]
    attached = {index.table: index for index in (root, *indexes_below(connection, root.oid))}
    for part in parts:
        if part.oid not in attached:
            work.wait_for_builders([part.oid])
            index = _built(work, part)
            if index is None or (part.leaf and not index.valid):
                return
            _attach(work, attached[part.parent], part, index)
            attached[part.oid] = index


def unattached(connection: Connection, name: str, part: Partition, column: str | None) -> Iterator[CatalogIndex]:
    """Yield the indexes of a partition that a build of the index ``name`` left, and did not attach.

    ``column`` is the indexed one, or None if it is unknown.
    """
    indexes = named_indexes(connection, part.schema, part_names(name, part.table))
    for index in indexes.values():
        if index.table == part.oid and index.parent is None and index.serves(column):
            yield index


def part_names(name: str, partition: str) -> list[str]:
    """Return the two names for a partition's index: while one is attached to NAME, the other is built."""
    part = f"{name}_{partition}"
    if len(part.encode()) > _LONGEST_PART:
        digest = hashlib.sha256(part.encode()).hexdigest()[:_DIGITS]
        part = part.encode()[: _LONGEST_PART - _DIGITS - 1].decode(errors="ignore") + f"_{digest}"
    return [f"{part}_1", f"{part}_2"]


def _attach(work: IndexBuild, parent: CatalogIndex, part: Partition, index: CatalogIndex) -> None:
    attach = sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(parent.sql_name, index.sql_name)
    work.with_short_locks([part.oid, part.parent, index.oid, parent.oid], attach)


def _built(work: IndexBuild, part: Partition) -> CatalogIndex | None:
    """Return the unattached index of a partition, built if it is missing, or dropped and built if it differs."""
    definition = work.target.definition
    for index in unattached(work.connection, definition.name, part, definition.column):
        if (index.valid or not part.leaf) and not differences(work.target, index):
            return index
        work.drop(index, () if part.leaf else (part.oid, index.oid))
    names = part_names(definition.name, part.table)
    taken = named_indexes(work.connection, part.schema, names)
    free = next((candidate for candidate in names if candidate not in taken), None)
    if free is None:
        raise InputError(
            f"the index {work.shown}: {printable(f'{part.schema}.{names[0]}')} and {printable(names[1])} are taken",
            "Rename these relations, or declare another name.",
        )
    if part.leaf:
        work.build(part.schema, free, part.sql_name, part.oid)
    else:
        work.create_only(free, part.sql_name, part.oid)
    return named_indexes(work.connection, part.schema, [free]).get(free)
