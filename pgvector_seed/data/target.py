"""The table that a command reads or writes, with its key and its vector column."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import errors, sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean, nearest
from pgvector_seed.migrate.contract import Contract, DeclaredTable, convert
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.catalog import TableName, find_relation, parse_name
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.extension import require_extension
from pgvector_seed.vectors.tables import vector_tables

VECTOR_TYPES = ("vector", "halfvec", "sparsevec")

# A domain counts as its base type. A type of another schema that has the name of a vector type is none.
_COLUMNS = """
SELECT a.attname, a.attnum,
       CASE WHEN b.typname = ANY (%s) AND b.typnamespace::regnamespace::text <> quote_ident(%s)
            THEN format('%%I.%%I', b.typnamespace::regnamespace, b.typname) ELSE b.typname END,
       b.oid, b.typtype, a.atttypmod, a.attnotnull, a.attgenerated <> '',
       a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# With the operator of the index: for citext, the one in pg_catalog compares as text.
_KEY = """
SELECT a.attname, n.nspname, o.oprname
FROM pg_index i
CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS keys (number, class, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = keys.number
JOIN pg_opclass c ON c.oid = keys.class
JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoplefttype = c.opcintype
              AND m.amoprighttype = c.opcintype
JOIN pg_operator o ON o.oid = m.amopopr
JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE i.indrelid = %s AND i.indisprimary AND keys.place <= i.indnkeyatts
ORDER BY keys.place
"""
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY 1
"""


@dataclass(frozen=True)
class TargetColumn:
    """A column. ``type`` is the name of its type in pg_type, ``kind`` is typtype: e for an enum.

    ``modifier`` is atttypmod: the dimensions of a vector type, or -1 if they are not declared.
    """

    name: str
    number: int
    type: str
    type_oid: int
    kind: str
    modifier: int
    not_null: bool
    generated: bool
    has_default: bool


@dataclass(frozen=True)
class Target:
    """A table to fill or to search. ``key`` is its primary key, empty if it has none.

    ``equal`` has the schema and the name of the operator by which each column of the key is unique.
    ``metric`` is None if neither the contract nor an index tells it. ``extension`` is pgvector's schema.
    ``is_declared`` is True if the contract has the table, and ``declared_indexes`` are the names of the indexes that
    the stack declares and builds.
    """

    name: TableName
    oid: int
    owner: str
    columns: Mapping[str, TargetColumn]
    key: tuple[str, ...]
    equal: tuple[tuple[str, str], ...]
    vector: TargetColumn
    metric: str | None
    extension: str
    is_declared: bool = False
    declared_indexes: tuple[str, ...] = ()

    @property
    def sql_name(self) -> sql.Identifier:
        """The schema and the name of the table, quoted for a query."""
        return sql.Identifier(self.name.schema, self.name.table)

    @property
    def shown(self) -> str:
        """The schema and the name of the table, quoted as in SQL where they must be."""
        return ".".join(map(_quoted, (self.name.schema, self.name.table)))

    @property
    def dimensions(self) -> int | None:
        """The declared dimensions of the vector column, or None."""
        return self.vector.modifier if self.vector.modifier > 0 else None

    def require_column(self, name: str) -> TargetColumn:
        """Return the column of that name. Raises InputError if the table has none."""
        if name not in self.columns:
            near = did_you_mean(name, self.columns)
            raise InputError(f"{self.shown} has no column {name}{near}", f"Its columns: {', '.join(self.columns)}")
        return self.columns[name]


def find_target(connection: Connection, table: str | None = None, vector: str | None = None) -> Target:
    """Return the table of that name, or the contract's only table, and its vector column.

    Raises InputError if there is no such table or column, or more than one to choose from.
    """
    extension = require_extension(connection)
    declared = _declared_tables(connection)
    name = parse_name(connection, table if table is not None else _only_table(declared))
    with catalog_snapshot(connection):
        relation = find_relation(connection, name)
        if relation is not None and relation.kind not in ("r", "p"):
            raise InputError(f"{name.schema}.{name.table} is not a table", "Name the table that has its rows.")
        if relation is None:
            raise InputError(
                f"there is no table {name.table} in the schema {name.schema}{_did_you_mean(connection, name)}",
                "Name the table as in SQL: --table public.items, --table '\"My schema\".items'",
            )
        rows = connection.execute(_COLUMNS, (list(VECTOR_TYPES), extension.schema, relation.oid)).fetchall()
        columns = {row[0]: TargetColumn(*row) for row in rows}
        keys = connection.execute(_KEY, (relation.oid,)).fetchall()
    column = _vector_column(name, columns, vector)
    own = [entry for entry in declared if parse_name(connection, entry.name) == name]
    metric = _metric(connection, name, column.name, own)
    key, equal = tuple(row[0] for row in keys), tuple((row[1], row[2]) for row in keys)
    indexes = tuple(index.name for entry in own for index in entry.indexes or () if index.column)
    return Target(
        name, relation.oid, relation.owner, columns, key, equal, column, metric, extension.schema, bool(own), indexes
    )


def _did_you_mean(connection: Connection, name: TableName) -> str:
    """Return "; did you mean TABLE?", quoted for SQL and for the shell, or "" if no name in the schema is similar."""
    rows = connection.execute(_TABLES, (name.schema,)).fetchall()
    match = nearest(name.table, [row[0] for row in rows])
    return f"; did you mean {shlex.quote(_quoted(match))}?" if match else ""


def _quoted(name: str) -> str:
    """Return a name in double quotes if it needs them in SQL."""
    return name if name.isidentifier() and name.islower() else sql.Identifier(name).as_string()


def recorded_contract(connection: Connection) -> Contract | None:
    """Return the contract that the deployment recorded, or None if there is none that this login may read."""
    try:
        ledger = read_ledger(connection)
    except errors.InsufficientPrivilege:
        return None
    return convert(ledger.contract, "in this database") if ledger is not None and ledger.contract else None


def _declared_tables(connection: Connection) -> tuple[DeclaredTable, ...]:
    contract = recorded_contract(connection)
    return contract.tables or () if contract else ()


def _only_table(declared: tuple[DeclaredTable, ...]) -> str:
    names = sorted({table.name for table in declared})
    if len(names) != 1:
        choice = f"the contract has {', '.join(names)}" if names else "this database keeps no contract that names one"
        raise InputError(f"which table? {choice}", "Name it: --table public.items")
    return names[0]


def _vector_column(name: TableName, columns: Mapping[str, TargetColumn], vector: str | None) -> TargetColumn:
    searched = [column for column in columns.values() if vector in (None, column.name)]
    candidates = [column for column in searched if column.type in VECTOR_TYPES]
    candidates = candidates or [column for column in searched if column.type == "bit"]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(column.name for column in candidates)
        raise InputError(
            f"{name.table} has several vector columns: {names}", f"Name one: --vector {candidates[0].name}"
        )
    near = "" if vector is None else f" {vector}{did_you_mean(vector, columns)}"
    raise InputError(f"{name.table} has no vector column{near}", f"Its columns: {', '.join(columns)}")


def _metric(connection: Connection, name: TableName, column: str, declared: Sequence[DeclaredTable]) -> str | None:
    """Return the metric that the contract declares for the column, or that of the column's indexes if they agree.

    ``declared`` are the contract's entries of the table.
    """
    for table in declared:
        if table.metric and table.vector == column:
            return table.metric
    for entry in vector_tables(connection, name.schema):
        if entry["table"] == name.table and entry["vector"] == column:
            metric: str | None = entry.get("metric")
            return metric
    return None
