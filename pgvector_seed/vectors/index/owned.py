"""The indexes on a table's vector column that have the names of a declared index."""

from __future__ import annotations

from pgvector_seed.postgres.catalog import TableName, find_relation
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.index.catalog import named_indexes
from pgvector_seed.vectors.index.definition import NEW, OLD


def owned_names(connection: Connection, schema: str, table: str, column: str, name: str) -> list[str]:
    """Return NAME, NAME_new and NAME_old, those that are indexes on this column and can order by a distance."""
    with catalog_snapshot(connection):
        relation = find_relation(connection, TableName(schema, table))
    if relation is None:
        return []
    indexes = named_indexes(connection, schema, [name, name + NEW, name + OLD])
    return [index.name for index in indexes.values() if index.table == relation.oid and index.serves(column)]
