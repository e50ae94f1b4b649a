"""A declared index joined with its table and column in the system catalog."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import printable
from pgvector_seed.postgres.catalog import Column, TableName, find_column, find_relation
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.extension import require_extension
from pgvector_seed.vectors.index.definition import IndexDefinition, indexed_expression, indexed_type
from pgvector_seed.vectors.metrics import OPERATORS

_BITS = """
SELECT format('(%%I.binary_quantize(%%I))::bit(%%s)', %(extension)s::text, %(column)s::text, %(dimensions)s::int)
"""
_CAST = """
SELECT format('(%%I)::%%I.%%I(%%s)', %(column)s::text, %(extension)s::text, %(cast)s::text, %(dimensions)s::int)
"""


@dataclass(frozen=True)
class IndexTarget:
    """The table and the column of a declared index. ``extension`` is pgvector's schema.

    ``deparsed`` is the indexed expression as pg_get_expr writes it while pg_catalog alone is on the search_path, or
    None for an index on the column itself.
    """

    definition: IndexDefinition
    table: int
    owner: str
    partitioned: bool
    column: Column
    extension: str
    deparsed: str | None

    @property
    def shown(self) -> str:
        """The name of the index with its schema, safe to print."""
        return printable(f"{self.definition.schema}.{self.definition.name}")

    @property
    def relation(self) -> sql.Identifier:
        """The quoted name of the table."""
        return sql.Identifier(self.definition.schema, self.definition.table)

    @property
    def type(self) -> str:
        """The type of the indexed expression."""
        return indexed_type(self.column.type, cast=self.definition.cast, bits=self.definition.bits)

    @property
    def dimensions(self) -> int | None:
        """The dimensions of the column, or None if they are not declared."""
        return self.column.modifier if self.column.modifier > 0 else None

    @property
    def operator(self) -> str:
        """The operator that the index must order by. Bits are compared by Hamming distance, whatever the metric is."""
        return OPERATORS["hamming" if self.definition.bits else self.definition.metric]

    @property
    def expression(self) -> sql.Composable:
        """The indexed expression, or the column."""
        definition = self.definition
        return indexed_expression(
            sql.Identifier(definition.column),
            self.dimensions or 0,
            self.extension,
            cast=definition.cast,
            bits=definition.bits,
        )


def resolve(connection: Connection, definition: IndexDefinition) -> IndexTarget:
    """Return the target of a declared index. Raises InputError if its table or column does not exist."""
    extension = require_extension(connection)
    with catalog_snapshot(connection):
        name = printable(f"{definition.schema}.{definition.table}")
        relation = find_relation(connection, TableName(definition.schema, definition.table))
        if relation is None or relation.kind not in "rp":
            raise InputError(f"the index {definition.name}: the table {name} does not exist")
        column = find_column(connection, relation.oid, definition.column)
        if column is None:
            raise InputError(f"the index {definition.name}: the table {name} has no column {definition.column}")
        deparsed = _deparsed(connection, definition, column.modifier, extension.schema)
    partitioned = relation.kind == "p"
    return IndexTarget(definition, relation.oid, relation.owner, partitioned, column, extension.schema, deparsed)


def _deparsed(connection: Connection, definition: IndexDefinition, dimensions: int, extension: str) -> str | None:
    template = _BITS if definition.bits else _CAST if definition.cast else None
    if template is None:
        return None
    names = {"column": definition.column, "extension": extension, "cast": definition.cast, "dimensions": dimensions}
    row = connection.execute(template, names).fetchone()
    return str(row[0]) if row else None
