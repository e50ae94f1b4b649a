"""The writer's plain write, tried by the writer in a transaction that is always rolled back: ``--try-writes``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
from psycopg import RawCursor, errors, sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.contract import Contract
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import VectorColumn

from ..context import Context
from ..deadline import set_timeout
from ..model import Fault, Trial
from ..replica import is_standby

_LOGIN = "SELECT session_user, current_user"
_COLUMNS = """
SELECT a.attname, a.attgenerated <> '', a.atthasdef OR a.attidentity <> '', a.attidentity = 'a',
       has_column_privilege(a.attrelid, a.attnum, 'INSERT') AND has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       t.typname
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# The columns of each key of the table or a partition in which no two rows may be equal; none for an expression.
_KEYS = """
SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)),
       i.indexrelid::regclass::text
FROM pg_index i WHERE i.indrelid = ANY (%s::oid[]) AND (i.indisunique OR i.indisexclusion)
"""
_VECTORS = "SELECT CAST({vector} AS pg_catalog.text) FROM {table} WHERE {vector} IS NOT NULL LIMIT 10"
_INSERT = """
INSERT INTO {table} ({columns}, {vector}) SELECT {values}, CAST($1 AS {type}) FROM {table} LIMIT 1 RETURNING {id}
"""
_INSERT_ALONE = "INSERT INTO {table} ({vector}) VALUES (CAST($1 AS {type})) RETURNING {id}"
_SEE = "SELECT CAST({vector} AS pg_catalog.text) FROM {table} WHERE {id} = $1"
_UPDATE = "UPDATE {table} SET {vector} = CAST($2 AS {type}) WHERE {id} = $1"
_DELETE = "DELETE FROM {table} WHERE {id} = $1"
# An id for a new row, if the table generates none.
_NEXT = "(SELECT pg_catalog.max({id}) OPERATOR(pg_catalog.+) 1 FROM {table})"
_IDS = {"int2": _NEXT, "int4": _NEXT, "int8": _NEXT, "uuid": "pg_catalog.gen_random_uuid()"}
_NUMBER = re.compile(r"-?[0-9.]+(?:e[-+]?[0-9]+)?")
_TOLERANCE = 1e-3  # relative: a trigger may normalize a vector again


class _Column(NamedTuple):
    """A column of the table. ``copied`` is True if this login may read and insert it."""

    name: str
    generated: bool
    has_default: bool
    always: bool
    copied: bool
    type: str


class _NotTriedError(Exception):
    """The write cannot be tried; the message says why."""


def require_writer(connection: Connection, contract: Contract) -> None:
    """Raise RefusedError on a standby, and unless the login is the writer: a trigger has the rights of the login."""
    if is_standby(connection):
        raise RefusedError("--try-writes needs the primary, and this server is a standby", REMEDIES["25006"])
    writer = contract.roles.writer
    if writer is None:
        raise RefusedError("--try-writes needs a contract that declares a writer", "Leave out --try-writes.")
    logins = set(query_catalog(connection, _LOGIN)[0])
    if logins != {writer}:
        words = f"--try-writes needs the login of the writer, {writer}, and this one is {' as '.join(sorted(logins))}"
        raise RefusedError(words, "Connect as the writer: a trigger would run with the rights of this login.")


def try_writes(context: Context, writer: str) -> Trial:
    """Insert, see, change and delete a copy of a row, and roll back. Call it outside of a transaction."""
    connection = context.connection
    faults: list[Fault] = []
    try:
        writing = _Writing(context, writer)
        with connection.transaction(force_rollback=True):
            set_timeout(connection, "statement_timeout", context.deadline.seconds_left)
            set_timeout(connection, "lock_timeout", context.lock_seconds)
            connection.execute(ending_with_client(local=True))
            faults += writing.faults()
    except _NotTriedError as error:
        return Trial(reason=str(error))
    except psycopg.Error as error:
        if connection.closed or is_connection_lost(error):
            raise
        unsure = errors.QueryCanceled | errors.LockNotAvailable | errors.ReadOnlySqlTransaction | psycopg.IntegrityError
        if isinstance(error, unsure):
            return Trial(reason=_words(error))
        see = f"To see the rules, triggers and policies, in psql: \\d {context.sql_name.as_string()}"
        return Trial([Fault(f"a write of {writer} fails: {_words(error)}", see)])
    return Trial(faults)


class _Writing:
    """The statements on one table."""

    def __init__(self, context: Context, writer: str) -> None:
        column, self.id = context.vector_column, context.declared.id
        if column is None or self.id is None:
            raise _NotTriedError("the contract declares no id and vector that the table has")
        self.context = context
        self.connection = context.connection
        self.column: VectorColumn = column
        self.writer = writer
        rows = query_catalog(self.connection, _COLUMNS, (context.table.oid,))
        self.columns = {row[0]: _Column(*row) for row in rows}
        if self.id not in self.columns or self.columns[column.name].generated:
            raise _NotTriedError("the id is missing, or the vector is a generated column")
        self.insert = self._insert()

    def faults(self) -> Iterator[Fault]:
        """Yield a fault for each statement that does not do what it says."""
        see = f"To see the rules and triggers, in psql: \\d {self.context.sql_name.as_string()}"
        vectors = [str(text) for (text,) in self._run(self._compose(_VECTORS)).fetchall()]
        if not vectors:
            raise _NotTriedError(f"{self.writer} sees no row to copy")
        ids = self._run(self.insert, vectors[0]).fetchall()
        if not ids:
            yield Fault(f"an INSERT of {self.writer} adds no row", see)
            return
        ((row_id,),) = ids
        if not self._has(row_id, vectors[0]):
            yield Fault(f"an INSERT of {self.writer} leaves no row with its id and vector", see)
            return
        other = next((vector for vector in vectors if vector != vectors[0]), vectors[0])
        self._run(self._compose(_UPDATE), row_id, other)
        if not self._has(row_id, other):
            yield Fault(f"an UPDATE of {self.writer} leaves no row with its vector", see)
        self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # runs what waits for the commit
        self._run(self._compose(_DELETE), row_id)
        if self._run(self._compose(_SEE), row_id).fetchall():
            yield Fault(f"a DELETE of {self.writer} leaves the row", see)

    def _run(self, statement: sql.Composed, *values: object) -> RawCursor[tuple[object, ...]]:
        return RawCursor(self.connection).execute(statement, values, prepare=False)

    def _has(self, row_id: object, vector: str) -> bool:
        rows = self._run(self._compose(_SEE), row_id).fetchall()
        return len(rows) == 1 and isinstance(rows[0][0], str) and _is_near(rows[0][0], vector)

    def _compose(self, text: str, **parts: sql.Composable) -> sql.Composed:
        names = {"table": self.column.relation, "type": self.column.type_name}
        columns = {"id": sql.Identifier(self.id or ""), "vector": sql.Identifier(self.column.name)}
        return sql.SQL(text).format(**names, **columns, **parts)

    def _insert(self) -> sql.Composed:
        """Return the statement that copies a row with $1 as its vector. Raises _NotTriedError if a key forbids it."""
        assert self.id is not None
        generated = self._generated()
        own = self.columns[self.id]
        left_out = {self.id, self.column.name, *generated}
        copied = [
            column.name
            for column in self.columns.values()
            if column.copied and not column.generated and not column.always and column.name not in left_out
        ]
        names: list[sql.Composable] = [sql.Identifier(name) for name in copied]
        values = list(names)
        if not own.has_default:
            if own.type not in _IDS:
                raise _NotTriedError(f"the table generates no {self.id}, whose type is {own.type}")
            names.append(sql.Identifier(self.id))
            values.append(self._compose(_IDS[own.type]))
        if not names:
            return self._compose(_INSERT_ALONE)
        return self._compose(_INSERT, columns=sql.SQL(", ").join(names), values=sql.SQL(", ").join(values))

    def _generated(self) -> set[str]:
        """Return the columns of keys without the id that get a new value by their default."""
        tables = [self.context.table.oid, *(leaf.oid for leaf in self.context.leaves)]
        new: set[str] = set()
        for names, index in query_catalog(self.connection, _KEYS, (tables,)):
            if self.id in names:
                continue
            defaults = {name for name in names if self.columns[name].has_default}
            if not defaults:
                raise _NotTriedError(f"{index} allows no copy of a row")
            new |= defaults
        return new


def _words(error: psycopg.Error) -> str:
    """Return the message of an error without its details, which can have the values of a row."""
    return " ".join((error.diag.message_primary or one_line(error)).split())


def _is_near(actual: str, expected: str) -> bool:
    """Return True if two vectors of any type, as text, are equal but for rounding."""
    first, second = ([float(number) for number in _NUMBER.findall(text)] for text in (actual, expected))
    size = max(map(abs, second), default=0.0)
    return len(first) == len(second) and all(
        abs(one - other) <= _TOLERANCE * size for one, other in zip(first, second, strict=True)
    )
