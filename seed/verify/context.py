"""What a check looks at: the database, the contract, and one of its tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

from psycopg import sql

from pgvector_seed.migrate.contract import Contract, DeclaredTable
from pgvector_seed.postgres.catalog import Column, Relation, TableName, find_column, find_relation
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.extension import Extension, find_extension
from pgvector_seed.vectors.reader import Reader
from pgvector_seed.vectors.tables import Leaf, leaves, size_in_bytes

from .deadline import Clock

# From so many rows on the planner should prefer an index, and needs statistics to do so.
# Measured with 128 dimensions: a sequential scan wins up to about 1,000 rows, the index from 2,000.
LARGE = 2000

LOCK_SECONDS = 2

_ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
# Columns that are not there need no right.
_MAY_READ = """
SELECT pg_catalog.has_any_column_privilege(%(table)s::pg_catalog.oid, 'SELECT')
   AND coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT')), true)
FROM pg_catalog.pg_attribute WHERE attrelid = %(table)s AND attname = ANY (%(columns)s) AND NOT attisdropped
"""
# The planner itself runs immutable functions that indexes, constraints and statistics of a table use, as whoever asks.
_UNTRUSTED = """
SELECT p.oid::pg_catalog.regprocedure::text
FROM pg_catalog.pg_depend d
LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
JOIN pg_catalog.pg_proc p
  ON p.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::regclass THEN d.refobjid ELSE o.oprcode END
JOIN pg_catalog.pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
WHERE (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)
  AND (d.classid, d.objid) IN (
    SELECT 'pg_catalog.pg_class'::regclass, oid FROM pg_catalog.unnest(%(tables)s::oid[]) AS oid
    UNION ALL SELECT 'pg_catalog.pg_class'::regclass, indexrelid FROM pg_catalog.pg_index
              WHERE indrelid = ANY (%(tables)s)
    UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint
              WHERE conrelid = ANY (%(tables)s)
    UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid FROM pg_catalog.pg_statistic_ext
              WHERE stxrelid = ANY (%(tables)s))
LIMIT 1
"""
_ROWS_HIDDEN = "SELECT pg_catalog.row_security_active(%s::pg_catalog.oid)"


class NotAllowedError(Exception):
    """This login may not look; the message says what it lacks."""


@dataclass
class Look:
    """One look at the database. ``table`` is the declared table that is looked at, for the checks of a table."""

    connection: Connection
    contract: Contract
    clock: Clock
    named: TableName | None = None
    entry: DeclaredTable | None = None
    lock_seconds: float = LOCK_SECONDS

    @property
    def title(self) -> str:
        """What the report calls it; "" for the whole database."""
        return self.entry.name if self.entry else ""

    @property
    def table(self) -> DeclaredTable:
        """What is declared of the table."""
        assert self.entry is not None
        return self.entry

    @property
    def name(self) -> TableName:
        """The table's name."""
        assert self.named is not None
        return self.named

    @cached_property
    def relation(self) -> Relation | None:
        """The table, or what bears its name; None where there is none."""
        return find_relation(self.connection, self.name)

    @property
    def there(self) -> Relation:
        """The same, for the checks that come after ``table``."""
        assert self.relation is not None
        return self.relation

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The partitions that hold the table's rows; without any, the table itself."""
        return leaves(self.connection, self.there.oid)

    @cached_property
    def extension(self) -> Extension | None:
        """The vector extension."""
        return find_extension(self.connection)

    @cached_property
    def vector(self) -> Column | None:
        """The declared vector column; None where it is not declared or not there."""
        return find_column(self.connection, self.there.oid, self.table.vector) if self.table.vector else None

    @cached_property
    def reader(self) -> Reader:
        """Who reads: the declared reader, or this login where none is declared, or it does not exist."""
        return Reader(self.existing(self.contract.roles.reader))

    @cached_property
    def searched(self) -> VectorColumn | None:
        """The vector column, as it is searched; None where it is not declared or not there."""
        if self.vector is None or self.table.vector is None or self.extension is None:
            return None
        name, kind, home = self.name, self.vector.type, self.extension.schema
        return VectorColumn(name.schema, name.table, self.table.vector, kind, self.table.metric, home)

    @property
    def sql_name(self) -> sql.Identifier:
        """The table's name for a query."""
        return sql.Identifier(self.name.schema, self.name.table)

    @property
    def bytes(self) -> int:
        """The size of the table and its partitions, without TOAST and indexes."""
        return size_in_bytes(self.connection, self.leaves)

    def existing(self, role: str | None) -> str | None:
        """The role, if it is declared and there."""
        return role if role and self.value(_ROLE_EXISTS, role) else None

    def quoted(self, name: str) -> str:
        """The name as SQL writes it."""
        return sql.Identifier(name).as_string()

    def value(self, query: LiteralString | sql.Composed, *values: object) -> Any:
        """The first value that a query answers."""
        row = self.connection.execute(query, values or None).fetchone()  # None: a name may have a %
        return row[0] if row else None

    def large_leaves(self) -> list[Leaf]:
        """The partitions, or the table, with so many rows that the planner should use an index."""
        if self.there.kind == "r":
            return [leaf for leaf in self.leaves if self._has_many(sql.SQL("TRUE"))]
        return [leaf for leaf in self.leaves if leaf.reltuples >= LARGE or self._is_large_unknown(leaf)]

    def _is_large_unknown(self, leaf: Leaf) -> bool:
        """Rows are read through the table: who may read that may not be allowed to read its partitions."""
        here = sql.SQL("tableoid = {}").format(sql.Literal(leaf.oid))
        return leaf.reltuples < 0 and self._has_many(here)

    def _has_many(self, condition: sql.Composable) -> bool:
        many = sql.SQL("SELECT FROM {} WHERE {} LIMIT {}").format(self.sql_name, condition, LARGE)
        return bool(self.value(sql.SQL("SELECT pg_catalog.count(*) FROM ({}) AS many").format(many)) == LARGE)

    def must_read(self, *columns: str | None) -> None:
        """Raise NotAllowedError unless the role of this session may read these columns."""
        values = {"table": self.there.oid, "columns": list(columns)}
        if self.connection.execute(_MAY_READ, values).fetchone() != (True,):
            raise NotAllowedError(f"this login may not read {self.table.name}")
        tables = {"tables": [self.there.oid, *(leaf.oid for leaf in self.leaves)]}
        for (function,) in self.connection.execute(_UNTRUSTED, tables):
            words = f"{self.table.name} uses {function}, which no superuser made, and this login is one"
            raise NotAllowedError(f"{words}: connect as the reader")

    def must_see_all(self, *columns: str | None) -> None:
        """The same, and it must be shown every row."""
        self.must_read(*columns)
        if self.value(_ROWS_HIDDEN, self.there.oid):
            raise NotAllowedError(f"row security hides rows of {self.table.name} from this login")

    @contextlib.contextmanager
    def as_reader(self, column: VectorColumn) -> Iterator[None]:
        """Inside, the session asks as the reader does. Raises as Reader.asking."""
        with self.reader.impersonate(self.connection, column.extension, row_security=self.there.row_security):
            self.must_read(column.name)
            yield
