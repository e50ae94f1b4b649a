"""Drop indexes: concurrently, or that of a partitioned table under a lock_timeout."""

from __future__ import annotations

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.text import printable
from pgvector_seed.postgres.catalog import TableName, find_relation
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.index.catalog import CatalogIndex, indexes_below, named_indexes
from pgvector_seed.vectors.index.conditions import require_owner
from pgvector_seed.vectors.index.definition import NEW, OLD
from pgvector_seed.vectors.index.lock import index_locked
from pgvector_seed.vectors.index.partitions import partitions, tables_of, unattached
from pgvector_seed.vectors.index.steps import CURRENT
from pgvector_seed.vectors.index.work import IndexWork

_REMEDY = "Rename it, or drop it by DROP INDEX if it is not needed."


def drop_index(
    connection: Connection, schema: str, table: str, name: str, report: Progress, *, column: str | None = None
) -> bool:
    """Drop the index, and what an interrupted build of it left. Returns True if there was anything to drop.

    ``column`` is the indexed one, or None if it is unknown. Indexes of these names on other tables stay, and are
    reported.

    Raises InputError if this role does not own the table, RefusedError if one of the names is that of an index which
    cannot order by a distance of the column.
    """
    shown = printable(f"{schema}.{name}")
    with translated(f"dropping the index {shown}"):
        with catalog_snapshot(connection):
            relation = find_relation(connection, TableName(schema, table))
        if relation is None:
            return False
        require_owner(connection, relation.oid, table, relation.owner)
        with index_locked(connection, schema, name, report) as key:
            work = IndexWork(connection, shown, report, key)
            work.wait_for_builders(tables_of(connection, relation.oid))
            indexes = _droppable(work, relation.oid, schema, name, column)
            for index in indexes:
                drop_one(work, relation.oid, index, partitioned=relation.kind == "p")
            return drop_unattached(work, relation.oid, name, column) or bool(indexes)


def drop_one(work: IndexWork, table: int, index: CatalogIndex, *, partitioned: bool) -> None:
    """Drop an index of the table, whose oid is ``table``."""
    if not partitioned:
        work.drop(index)
        return
    below = indexes_below(work.connection, index.oid)
    work.drop(index, [*tables_of(work.connection, table), index.oid, *(part.oid for part in below)])


def _droppable(work: IndexWork, table: int, schema: str, name: str, column: str | None) -> list[CatalogIndex]:
    """Return the indexes of the table that have one of the three names.

    Raises RefusedError if one of them cannot order by a distance of the column.
    """
    names = [name + suffix for suffix in (NEW, OLD, CURRENT)]
    droppable = []
    for index in named_indexes(work.connection, schema, names).values():
        shown = printable(f"{schema}.{index.name}")
        if index.table != table:
            work.report(f"{shown} is not an index of this table, and stays")
        elif index.serves(column):
            droppable.append(index)
        else:
            fault = f"is not on the column {column}" if index.operators else "cannot order by a distance"
            raise RefusedError(f"the index {shown} {fault}, so it is not dropped", _REMEDY)
    return droppable


def drop_unattached(work: IndexWork, table: int, name: str, column: str | None) -> bool:
    """Drop the indexes that an interrupted build left on partitions. Returns True if there were any."""
    dropped = False
    for part in reversed(partitions(work.connection, table)):
        for index in unattached(work.connection, name, part, column):
            work.drop(index, () if part.leaf else (part.oid, index.oid))
            dropped = True
    return dropped
