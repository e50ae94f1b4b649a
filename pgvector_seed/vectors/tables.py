"""Tables with vector columns, the partitions that hold their rows, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.index.keys import KEY
from pgvector_seed.vectors.indexes import INDEX_DEFAULTS
from pgvector_seed.vectors.metrics import OPERATORS, metric_of

# Rows from which the planner should prefer an index, and needs statistics to do so.
# Measured with 128 dimensions: a sequential scan wins up to about 1,000 rows, the index from 2,000.
LARGE = 2000

# Partitions are left out, as verify checks them with their table. A bit column counts if an index orders it.
_VECTOR_TABLES = sql.SQL("""
SELECT format('%%I.%%I', n.nspname, c.relname),
       c.relname,
       pg_get_userbyid(c.relowner),
       (SELECT k.attname
        FROM pg_index i
        JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1),
       a.attname,
       t.typname,
       nullif(a.atttypmod, -1),
       ARRAY(SELECT jsonb_build_object(
                      'name', x.relname, 'method', m.amname, 'operator', o.oprname,
                      'as', key.halved, 'bits', nullif(key.bits, false),
                      'partial', nullif(i.indpred IS NOT NULL, false),
                      'parameters', (SELECT jsonb_object_agg(option_name, option_value)
                                     FROM pg_options_to_table(x.reloptions)))
             FROM pg_index i
             JOIN pg_class x ON x.oid = i.indexrelid
             JOIN pg_am m ON m.oid = x.relam
             JOIN pg_opclass f ON f.oid = i.indclass[0]
             JOIN pg_amop s ON s.amopfamily = f.opcfamily AND s.amoppurpose = 'o' AND s.amoplefttype = f.opcintype
             JOIN pg_operator o ON o.oid = s.amopopr AND o.oprname = ANY (%s)
             JOIN {key} ON key.attnum = a.attnum
             WHERE i.indrelid = c.oid
             ORDER BY x.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_depend d
  ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (e.extname = %s OR (t.oid = 'bit'::regtype
                          AND EXISTS (SELECT FROM pg_index i
                                      JOIN pg_opclass f ON f.oid = i.indclass[0]
                                      JOIN pg_amop s ON s.amopfamily = f.opcfamily AND s.amoppurpose = 'o'
                                      WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum)))
ORDER BY c.relname, a.attnum
""").format(key=KEY)
# pg_partition_tree returns no row for a plain table, which is its own leaf here.
_LEAVES = """
SELECT c.oid, format('%%I.%%I', n.nspname, c.relname), c.relname, c.relkind, c.relpersistence, c.reltuples
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind <> 'p' AND (c.oid = %(oid)s OR c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s)))
ORDER BY 2
"""
_MANY = "SELECT pg_catalog.count(*) FROM (SELECT FROM {table} WHERE {condition} LIMIT {many}) AS many"
# Waits while another session holds an ACCESS EXCLUSIVE lock on one of the tables.
_BYTES = "SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(oid)), 0) FROM pg_catalog.unnest(%s::oid[]) AS oid"


@dataclass(frozen=True)
class Leaf:
    """A partition that holds rows, or the table itself. ``name`` is schema-qualified and quoted, ``table`` is not."""

    oid: int
    name: str
    table: str
    kind: str
    persistence: str
    reltuples: float


def vector_tables(connection: Connection, schema: str) -> list[dict[str, Any]]:
    """Return the vector columns of the tables in ``schema``, as entries of the contract's ``tables``.

    A partial index has the key ``partial``: a contract has none.
    """
    parameters = (list(OPERATORS.values()), schema, EXTENSION)
    return [_entry(*row) for row in query_catalog(connection, _VECTOR_TABLES, parameters)]


def _entry(
    name: str, table: str, owner: str, key: str | None, column: str, kind: str, dimensions: int | None, indexes: Any
) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "table": table, "id": key, "vector": column, "type": kind}
    entry |= {"dimensions": dimensions, "owner": owner}
    metrics = {metric_of(index["operator"]) for index in indexes if not index["bits"]}
    entry["metric"] = metrics.pop() if len(metrics) == 1 else None
    entry["indexes"] = [_index(index) for index in indexes]
    return {field: value for field, value in entry.items() if value is not None}


def _index(index: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the contract's ``indexes``, or of a partial index."""
    entry = {key: index[key] for key in ("name", "method", "as", "bits", "partial") if index[key] is not None}
    return entry | {"parameters": _parameters(index)}


def _parameters(index: dict[str, Any]) -> dict[str, int | str]:
    """Return the parameters of an index, including the method's defaults."""
    options = index["parameters"] or {}
    parameters = {name: int(value) if value.isdecimal() else value for name, value in options.items()}
    return INDEX_DEFAULTS.get(index["method"], {}) | parameters


def leaves(connection: Connection, oid: int) -> tuple[Leaf, ...]:
    """Return the leaf partitions of a table in the order of their names, or the table itself if it has none."""
    return tuple(Leaf(*row) for row in query_catalog(connection, _LEAVES, {"oid": oid}))


def size_in_bytes(connection: Connection, parts: Sequence[Leaf]) -> int:
    """Return the size of these partitions in bytes, without TOAST and indexes."""
    row = connection.execute(_BYTES, ([leaf.oid for leaf in parts],)).fetchone()
    return int(row[0]) if row else 0


def large_leaves(connection: Connection, table: sql.Composable, parts: Sequence[Leaf]) -> list[Leaf]:
    """Return the leaves of ``table`` with at least LARGE rows: there, the planner should use an index.

    They are counted through ``table``: a role that may read it may lack privileges on a partition. The rows of a
    partition that was analyzed are not counted.
    """
    if len(parts) == 1:
        return [leaf for leaf in parts if _has_many(connection, table, sql.SQL("TRUE"))]
    return [leaf for leaf in parts if leaf.reltuples >= LARGE or _is_large_unanalyzed(connection, table, leaf)]


def _is_large_unanalyzed(connection: Connection, table: sql.Composable, leaf: Leaf) -> bool:
    in_leaf = sql.SQL("tableoid OPERATOR(pg_catalog.=) {}").format(sql.Literal(leaf.oid))
    return leaf.reltuples < 0 and _has_many(connection, table, in_leaf)


def _has_many(connection: Connection, table: sql.Composable, condition: sql.Composable) -> bool:
    statement = sql.SQL(_MANY).format(table=table, condition=condition, many=sql.Literal(LARGE))
    return connection.execute(statement).fetchone() == (LARGE,)
