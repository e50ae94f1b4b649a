"""Drop indexes: concurrently, or that of a partitioned table under a lock_timeout."""

from __future__ import annotations

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.catalog import TableName, find_relation
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.vectors.index.catalog import CatalogIndex, indexes_below, named_indexes
from pgvector_seed.vectors.index.conditions import require_owner
from pgvector_seed.vectors.index.definition import NEW, OLD
from pgvector_seed.vectors.index.lock import index_locked
from pgvector_seed.vectors.index.partitions import partitions, tables_of, unattached
from pgvector_seed.vectors.index.steps import CURRENT
from pgvector_seed.vectors.index.work import IndexWork


def drop_index(
    connection: Connection, schema: str, table: str, name: str, report: Progress, column: str | None = None
) -> bool:
    """Drop the index, and what an interrupted build of it left. Returns True if there was anything to drop.

    Indexes of these names on other tables stay, and are reported.

    Raises InputError if this role does not own the table.
    """
    shown = printable(f"{schema}.{name}")
    with translated(f"dropping the index {shown}"):
        relation = find_relation(connection, TableName(schema, table))
        if relation is None:
            return False
        require_owner(connection, relation.oid, table, relation.owner)
        with index_locked(connection, schema, name, report) as key:
            work = IndexWork(connection, shown, report, key)
            return _drop_all(work, schema, name, relation.oid, partitioned=relation.kind == "p")


def drop_one(work: IndexWork, table: int, index: CatalogIndex, *, partitioned: bool) -> None:
    """Drop an index of the table, whose oid is ``table``."""
    if not partitioned:
        work.drop(index)
        return
    below = indexes_below(work.connection, index.oid)
    work.drop(index, [*tables_of(work.connection, table), index.oid, *(part.oid for part in below)])


def _drop_all(work: IndexWork, schema: str, name: str, table: int, *, partitioned: bool) -> bool:
    work.wait_for_builders(tables_of(work.connection, table))
    dropped = False
    for index in named_indexes(work.connection, schema, [name + suffix for suffix in (NEW, OLD, CURRENT)]).values():
        if index.table == table:
            drop_one(work, table, index, partitioned=partitioned)
            dropped = True
        else:
            work.report(f"{printable(f'{schema}.{index.name}')} is not an index of this table, and stays")
    return drop_unattached(work, name, table) or dropped


def drop_unattached(work: IndexWork, name: str, table: int) -> bool:
    """Drop the indexes that an interrupted build left on partitions. Returns True if there were any."""
    dropped = False
    for part in reversed(partitions(work.connection, table)):
        for index in unattached(work.connection, name, part):
            work.drop(index, () if part.leaf else (part.oid, index.oid))
            dropped = True
    return dropped
