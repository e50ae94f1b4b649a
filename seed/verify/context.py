"""The argument of every check: the connection, the contract and, for a check of a table, that table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, LiteralString

from psycopg import sql

from pgvector_seed.migrate.contract import Contract, DeclaredTable
from pgvector_seed.postgres.catalog import Column, Relation, TableName, find_column, find_relation, role_exists
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.extension import Extension, find_extension
from pgvector_seed.vectors.indexes import exactness, indexes_on_column
from pgvector_seed.vectors.reader import Reader
from pgvector_seed.vectors.tables import Leaf, large_leaves, leaves, size_in_bytes

from .deadline import Deadline
from .model import Outcome, Trial

LOCK_SECONDS = 2  # the lock_timeout of a check

_HAS_USAGE = "SELECT has_schema_privilege(%s::name, %s, 'USAGE')"
# A column that does not exist needs no privilege.
_MAY_READ = """
SELECT pg_catalog.has_any_column_privilege(%(table)s::pg_catalog.oid, 'SELECT')
   AND coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT')), true)
FROM pg_catalog.pg_attribute WHERE attrelid = %(table)s AND attname = ANY (%(columns)s) AND NOT attisdropped
"""
# The planner itself runs the immutable functions in indexes, constraints and statistics, with the rights of this login.
# A role that was given a function of pgvector can replace it, and the owner of a type can define its casts.
_UNTRUSTED_FUNCTION = """
WITH RECURSIVE types (oid) AS (
  SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = ANY (%(tables)s) AND attnum > 0 AND NOT attisdropped
  UNION SELECT part FROM types t JOIN pg_catalog.pg_type y USING (oid),
                         pg_catalog.unnest(ARRAY[y.typbasetype, y.typelem]) AS part WHERE part <> 0)
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
UNION ALL
SELECT p.oid::pg_catalog.regprocedure::text
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'vector'
JOIN pg_catalog.pg_proc p ON p.oid = d.objid AND d.classid = 'pg_catalog.pg_proc'::regclass
JOIN pg_catalog.pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
  AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)
UNION ALL
SELECT p.oid::pg_catalog.regprocedure::text
FROM types t
JOIN pg_catalog.pg_cast c ON c.castsource = t.oid
JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
JOIN pg_catalog.pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
WHERE (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)
LIMIT 1
"""
_HIDES_ROWS = "SELECT pg_catalog.row_security_active(%s::pg_catalog.oid)"


class NotAllowedError(Exception):
    """The login lacks a right that the check needs; the message names it."""


@dataclass
class Context:
    """The argument of a check. The catalog is read when a property is first used.

    ``table_name`` and ``declared_table`` are None for a check of the whole database; all properties but ``extension``,
    ``reader`` and ``reader_path`` are for checks of a table. ``lock_seconds`` is the lock_timeout. ``damage`` has the
    failures of other checks that a check has met, by their names. With ``try_writes`` the writer's write is tried,
    and ``trial`` is its result.
    """

    connection: Connection
    contract: Contract
    deadline: Deadline
    table_name: TableName | None = None
    declared_table: DeclaredTable | None = None
    lock_seconds: float = LOCK_SECONDS
    damage: dict[str, Outcome] = field(default_factory=dict)
    try_writes: bool = False
    trial: Trial | None = None

    @property
    def declared(self) -> DeclaredTable:
        """The table as the contract declares it."""
        assert self.declared_table is not None
        return self.declared_table

    @property
    def name(self) -> TableName:
        """The schema and the name of the table."""
        assert self.table_name is not None
        return self.table_name

    @property
    def sql_name(self) -> sql.Identifier:
        """The schema and the name of the table, quoted for a query."""
        return sql.Identifier(self.name.schema, self.name.table)

    @cached_property
    def relation(self) -> Relation | None:
        """The relation of the declared name, which may be a view; None if it does not exist."""
        return find_relation(self.connection, self.name)

    @property
    def table(self) -> Relation:
        """The relation of the declared name. Only for checks that come after ``table``, as it must exist."""
        assert self.relation is not None
        return self.relation

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The partitions that hold the rows, or the table itself if it has no partitions."""
        return leaves(self.connection, self.table.oid)

    @cached_property
    def extension(self) -> Extension | None:
        """The extension vector; None if it is not enabled."""
        return find_extension(self.connection)

    @cached_property
    def catalog_column(self) -> Column | None:
        """The declared vector column as the catalog has it; None if it is not declared or does not exist."""
        return find_column(self.connection, self.table.oid, self.declared.vector) if self.declared.vector else None

    @cached_property
    def vector_column(self) -> VectorColumn | None:
        """The declared vector column as a query names it; None if it is not declared or does not exist."""
        if self.catalog_column is None or self.declared.vector is None or self.extension is None:
            return None
        name, column = self.name, self.catalog_column
        cast, bits = self._indexed_form(column)
        return VectorColumn(
            name.schema,
            name.table,
            self.declared.vector,
            column.type,
            self.declared.metric,
            self.extension.schema,
            column.modifier,
            cast,
            bits,
        )

    def _indexed_form(self, column: Column) -> tuple[str | None, bool]:
        """Return ``cast`` and ``bits`` of the indexes that serve the readers: of the most exact, if there are several.

        These are the declared indexes, or those in the catalog if none are declared.
        """
        forms: list[tuple[str | None, bool]]
        forms = [(index.cast, bool(index.bits)) for index in self.declared.indexes or ()]
        if not forms:
            indexes = indexes_on_column(self.connection, self.table.oid, column.number)
            forms = [(index.cast, index.bits) for index in indexes if index.valid]
        return min(forms, key=lambda form: exactness(*form), default=(None, False))

    @cached_property
    def reader(self) -> Reader:
        """The declared reader; this login if no reader is declared or the role does not exist."""
        return Reader(self.existing_role(self.contract.roles.reader))

    @cached_property
    def reader_path(self) -> list[str]:
        """The schemas of the reader's search_path, including missing ones."""
        return self.reader.search_path(self.connection)

    @cached_property
    def size_in_bytes(self) -> int:
        """The size of the table and its partitions in bytes, without TOAST and indexes."""
        return size_in_bytes(self.connection, self.leaves)

    def existing_role(self, role: str | None) -> str | None:
        """Return the role, or None if it is not declared or does not exist."""
        return role if role and role_exists(self.connection, role) else None

    def has_usage(self, role: str, schema: str) -> bool:
        """Return True if the role may use the schema."""
        return bool(self.fetch_value(_HAS_USAGE, role, schema))

    def quote(self, name: str) -> str:
        """Return the name as a quoted SQL identifier."""
        return sql.Identifier(name).as_string()

    def alter_role(self, role: str, setting: str, value: str) -> str:
        """Return the statement that changes a setting of the role's sessions in this database."""
        database = self.quote(self.connection.info.dbname)
        return f"ALTER ROLE {self.quote(role)} IN DATABASE {database} SET {setting} = {value};"

    def is_on(self, role: str, setting: str) -> bool:
        """Return True if a boolean setting is on in the role's new sessions."""
        return bool(self.fetch_value("SELECT bool(%s::text)", Reader(role).setting(self.connection, setting)))

    def show_remedy(self, objects: str) -> str:
        """Return the remedy that shows these objects of the table, such as "policies"."""
        return f"To see the {objects}, in psql: \\d {self.sql_name.as_string()}"

    def fetch_value(self, query: LiteralString | sql.Composed, *values: object) -> Any:
        """Return the first column of the first row of a query, or None if it has no row."""
        row = self.connection.execute(query, values or None).fetchone()  # None: a name may have a %
        return row[0] if row else None

    def large_leaves(self) -> list[Leaf]:
        """Return the leaves with at least LARGE rows: there, the planner should use an index."""
        return large_leaves(self.connection, self.sql_name, self.leaves)

    def require_select(self, *columns: str | None) -> None:
        """Raise NotAllowedError if the session's role may not read these columns of the table.

        A superuser is also refused if reading could run a function that another role has made.
        """
        values = {"table": self.table.oid, "columns": list(columns)}
        if self.connection.execute(_MAY_READ, values).fetchone() != (True,):
            raise NotAllowedError(f"this login may not read {self.declared.name}")
        tables = {"tables": [self.table.oid, *(leaf.oid for leaf in self.leaves)]}
        for (function,) in self.connection.execute(_UNTRUSTED_FUNCTION, tables):
            words = f"reading {self.declared.name} as a superuser could run {function}, which no superuser owns"
            raise NotAllowedError(f"{words}: connect as the reader")

    def require_all_rows(self, *columns: str | None) -> None:
        """Raise NotAllowedError if ``require_select`` does, or if row security hides rows of the table."""
        self.require_select(*columns)
        if self.fetch_value(_HIDES_ROWS, self.table.oid):
            raise NotAllowedError(f"row security hides rows of {self.declared.name} from this login")

    @contextlib.contextmanager
    def as_reader(self, column: VectorColumn) -> Iterator[None]:
        """Give the session the reader's settings and rights for this transaction. Raises as Reader.impersonate."""
        with self.reader.impersonate(self.connection, column.extension, row_security=self.table.row_security):
            self.require_select(column.name)
            yield
