"""The indexes with the names that a build uses, as the system catalog has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

# An index depends on its columns, those of its expressions included; that of a constraint depends on the constraint.
_INDEXES = sql.SQL("""
SELECT x.oid, n.nspname, x.relname, i.indrelid, coalesce(quote_ident(tn.nspname) || '.' || quote_ident(t.relname), ''),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid
               AND a.attnum IN (SELECT refobjsubid FROM pg_depend
                                WHERE classid = 'pg_class'::regclass AND objid = x.oid AND refobjid = i.indrelid
                                UNION SELECT unnest(i.indkey))),
       m.amname, coalesce(i.indisvalid, false), i.indpred IS NOT NULL, coalesce(i.indnkeyatts, 0),
       pg_get_expr(i.indexprs, i.indrelid),
       ARRAY(SELECT o.oprname
             FROM pg_opclass c
             JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o' AND s.amoplefttype = c.opcintype
             JOIN pg_operator o ON o.oid = s.amopopr
             WHERE c.oid = i.indclass[0]),
       (SELECT coalesce(jsonb_object_agg(option_name, option_value), '{{}}') FROM pg_options_to_table(x.reloptions)),
       (SELECT inhparent FROM pg_inherits WHERE inhrelid = x.oid)
FROM pg_class x
JOIN pg_namespace n ON n.oid = x.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = x.oid
LEFT JOIN pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_am m ON m.oid = x.relam
WHERE {}
ORDER BY x.oid
""")
_NAMED = _INDEXES.format(sql.SQL("n.nspname = %s AND x.relname = ANY (%s)"))
# pg_partition_tree returns the index itself, and no row for an index of a plain table.
_BELOW = _INDEXES.format(sql.SQL("x.oid IN (SELECT relid FROM pg_partition_tree(%s::oid) WHERE level > 0)"))


@dataclass(frozen=True)
class CatalogIndex:
    """A relation that has the name of an index. ``table`` is None if it is not an index.

    ``columns`` are the names of the columns that it is on, those of its expressions included; ``operators`` order by
    distance; ``parent`` is the oid of the partitioned index that it is attached to.
    """

    oid: int
    schema: str
    name: str
    table: int | None
    table_name: str
    columns: Sequence[str]
    method: str | None
    valid: bool
    partial: bool
    keys: int
    expression: str | None
    operators: Sequence[str]
    parameters: dict[str, str]
    parent: int | None

    @property
    def sql_name(self) -> sql.Identifier:
        """The quoted name with the schema."""
        return sql.Identifier(self.schema, self.name)

    def serves(self, column: str | None) -> bool:
        """Return True if the index can order by a distance of the column, or of any column if it is None."""
        return bool(self.operators) and (column is None or column in self.columns)


def named_indexes(connection: Connection, schema: str, names: Sequence[str]) -> dict[str, CatalogIndex]:
    """Return the relations of a schema that have these names."""
    return {index.name: index for index in _indexes(connection, _NAMED, schema, list(names))}


def indexes_below(connection: Connection, index: int) -> list[CatalogIndex]:
    """Return the indexes of the partitions that are attached to a partitioned index, at any level."""
    return _indexes(connection, _BELOW, index)


def _indexes(connection: Connection, query: sql.Composed, *parameters: Any) -> list[CatalogIndex]:
    return [CatalogIndex(*row) for row in query_catalog(connection, query, parameters)]
