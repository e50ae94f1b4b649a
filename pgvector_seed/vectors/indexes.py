"""Vector indexes: their properties in the system catalog, and the statement that builds one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.keys import KEY

# pgvector's defaults for the parameters of an index. Source: the sections "HNSW" and "IVFFlat" of its README.
INDEX_DEFAULTS: dict[str, dict[str, int | str]] = {
    "hnsw": {"m": 16, "ef_construction": 64},
    "ivfflat": {"lists": 100},
}
# An index and the indexes of its partitions. Its ordering operators come from the operator class, not from a name.
_INDEXES = sql.SQL("""
SELECT format('%%I.%%I', n.nspname, x.relname), x.oid, i.indrelid, m.amname, i.indisvalid, i.indisready,
       pg_get_expr(i.indpred, i.indrelid),
       array_to_string(ARRAY(
         SELECT CASE WHEN number = 0 THEN coalesce(key.attname, 'an expression') ELSE a.attname END
         FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS columns (number, place)
         LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = number ORDER BY place), ', '),
       key.halved, coalesce(key.bits, false),
       ARRAY(SELECT o.oprname
             FROM pg_opclass c
             JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o'
             JOIN pg_operator o ON o.oid = s.amopopr
             WHERE c.oid = i.indclass[0]),
       ARRAY(SELECT format('%%s=%%s', option_name, option_value)
             FROM pg_options_to_table(x.reloptions)),
       (SELECT format('%%I.%%I', c.opcnamespace::regnamespace::name, c.opcname) FROM pg_opclass c
        WHERE c.oid = i.indclass[0]
          AND EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_am'::regclass AND d.objid = m.oid AND d.deptype = 'e')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_opclass'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
FROM pg_class root
JOIN pg_namespace r ON r.oid = root.relnamespace AND r.nspname = %s
JOIN LATERAL (SELECT root.oid AS relid UNION SELECT relid FROM pg_partition_tree(root.oid)) AS tree ON true
JOIN pg_class x ON x.oid = tree.relid
JOIN pg_namespace n ON n.oid = x.relnamespace
JOIN pg_index i ON i.indexrelid = x.oid
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN {key} ON true
WHERE root.relname = %s AND root.relkind IN ('i', 'I')
ORDER BY x.oid <> root.oid, 1
""").format(key=KEY)
_ON_COLUMN = sql.SQL("""
SELECT n.nspname, x.relname, m.amname, i.indisvalid, key.halved, key.bits,
       ARRAY(SELECT o.oprname
             FROM pg_opclass c
             JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o'
             JOIN pg_operator o ON o.oid = s.amopopr
             WHERE c.oid = i.indclass[0]),
       x.oid, i.indisready, (SELECT opcname FROM pg_opclass WHERE oid = i.indclass[0]),
       pg_get_expr(i.indpred, i.indrelid)
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
JOIN pg_am m ON m.oid = x.relam
JOIN {key} ON key.attnum = %s
WHERE i.indrelid = %s AND m.amname <> 'btree'
ORDER BY 1, 2
""").format(key=KEY)

# For a query under a reader's search_path.
_ON_TABLES = """
SELECT x.relname, m.amname, (SELECT option_value FROM pg_catalog.pg_options_to_table(x.reloptions)
                             WHERE option_name OPERATOR(pg_catalog.=) 'lists')
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[0]
JOIN pg_catalog.pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o'
WHERE i.indrelid = ANY (%s)
"""
_BROKEN = "SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = ANY (%s) AND NOT (indisvalid AND indisready)"


class VectorIndex(NamedTuple):
    """An index in the system catalog. ``table`` is the oid of its table; ``operators`` are its ordering operators.

    ``cast`` and ``bits`` are as in IndexDefinition. ``foreign_class`` is the operator class if its method is of an
    extension and the class is not, otherwise None: it may order by another distance than its operator says.
    """

    name: str
    oid: int
    table: int
    method: str
    valid: bool
    ready: bool
    predicate: str | None
    columns: str
    cast: str | None
    bits: bool
    operators: list[str]
    options: list[str]
    foreign_class: str | None

    @property
    def is_broken(self) -> bool:
        """True if no query may use the index: its build is under way or was interrupted."""
        return not (self.valid and self.ready)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the index, including the method's defaults."""
        options = dict(option.split("=", 1) for option in self.options)
        return {key: str(value) for key, value in INDEX_DEFAULTS.get(self.method, {}).items()} | options


class ColumnIndex(NamedTuple):
    """An index on a vector column, its cast or its bits. ``cast`` and ``bits`` are as in IndexDefinition.

    ``operators`` are the distance operators by which it can order, such as <=>. ``predicate`` is the condition of a
    partial index, or None.
    """

    schema: str
    name: str
    method: str
    valid: bool
    cast: str | None
    bits: bool
    operators: list[str]
    oid: int
    ready: bool
    operator_class: str
    predicate: str | None

    @property
    def is_broken(self) -> bool:
        """True if no query may use the index: its build is under way or was interrupted."""
        return not (self.valid and self.ready)

    def serves(self, operator: str) -> bool:
        """Return True if the index can order by this distance operator of the column. Bits stand for any distance."""
        return self.bits or operator in self.operators


class TableIndex(NamedTuple):
    """A vector index by its unqualified name. ``lists`` counts only for ivfflat."""

    name: str
    method: str
    lists: int


def exactness(cast: str | None, bits: bool) -> tuple[bool, bool]:  # noqa: FBT001  # as in IndexDefinition
    """Return the sort key of an index by its form: first the column itself, then a cast, then bits."""
    return bits, cast is not None


def indexes_named(connection: Connection, schema: str, name: str) -> list[VectorIndex]:
    """Return the index of that name, followed by the indexes of its partitions, or an empty list."""
    return [VectorIndex(*row) for row in connection.execute(_INDEXES, (schema, name))]


def indexes_on_column(connection: Connection, table: int, column: int) -> list[ColumnIndex]:
    """Return the indexes for searches on a column, its cast or its bits: all but B-trees.

    ``table`` is the table's oid, ``column`` the column's number.
    """
    return [ColumnIndex(*row) for row in query_catalog(connection, _ON_COLUMN, (column, table))]


def indexes_on_tables(connection: Connection, tables: Sequence[int]) -> list[TableIndex]:
    """Return the indexes that can order by distance. ``tables`` are oids."""
    default = int(INDEX_DEFAULTS["ivfflat"]["lists"])
    rows = connection.execute(_ON_TABLES, (tables,)).fetchall()
    return [TableIndex(name, method, int(lists or default)) for name, method, lists in rows]


def broken_indexes(connection: Connection, tables: Sequence[int]) -> list[int]:
    """Return the oids of the indexes that no query may use. ``tables`` are oids."""
    return [oid for (oid,) in connection.execute(_BROKEN, (tables,))]


def create_index(
    name: str,
    table: sql.Composable,
    key: sql.Composable,
    operator_class: str,
    *,
    method: str,
    parameters: Mapping[str, Any],
    concurrently: bool,
) -> sql.Composed:
    """Return the statement that builds an index on ``key``, a column's name or the ``indexed_expression`` of it.

    ``parameters`` that are the method's defaults are left out.

    PostgreSQL cannot build the index of a partitioned table ``concurrently``.
    """
    defaults = INDEX_DEFAULTS.get(method, {})
    settings = {key: value for key, value in parameters.items() if str(value) != str(defaults.get(key))}
    return sql.SQL("CREATE INDEX {concurrently}{name} ON {table} USING {method} ({key} {ops}){with_};").format(
        concurrently=sql.SQL("CONCURRENTLY " if concurrently else ""),
        name=sql.Identifier(name),
        table=table,
        method=sql.Identifier(method),
        key=key if isinstance(key, sql.Identifier) else sql.SQL("({})").format(key),
        ops=sql.Identifier(operator_class),
        with_=with_clause(settings),
    )


def with_clause(parameters: Mapping[str, Any]) -> sql.Composable:
    """Return the parameters of an index for its statement, with a space before, or nothing without any."""
    if not parameters:
        return sql.SQL("")
    pairs = (sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in parameters.items())
    return sql.SQL(" WITH ({})").format(sql.SQL(", ").join(pairs))
