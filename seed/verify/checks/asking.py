"""The reader's plain query, asked once as the reader: whether it gets rows, in the time that its sessions have."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import errors, sql

from pgvector_seed.postgres.errors import is_connection_lost, one_line
from pgvector_seed.vectors.column import VectorColumn, fetch_all
from pgvector_seed.vectors.exact import exact_distances
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.metrics import OPERATORS
from pgvector_seed.vectors.names import shadows
from pgvector_seed.vectors.reader import CannotImpersonateError, ReaderRefusedError

from ..context import Context, NotAllowedError
from ..damage import find_damage
from ..deadline import set_timeout
from ..model import Fault
from .timeouts import shortest_timeout

NEIGHBORS = 10  # k of the query if the contract declares no recall
# A timeout is too short if most of these queries reach it, after one without it has filled the caches.
_TRIES = 5

_IS_READER = "SELECT session_user = %(role)s, pg_has_role(session_user, %(role)s::name, 'SET')"
# Code that the query could run beside that of PostgreSQL and pgvector: in indexes, constraints (for the planner),
# extended statistics, generated columns, or in place of a function of pgvector. pg_depend has no entries for what is
# built in.
_FOREIGN_CODE = """
WITH tables AS (SELECT %(table)s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%(table)s)),
members AS (SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = %(extension)s),
users AS (
  SELECT 'pg_class'::regclass AS classid, oid FROM tables
  UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN tables ON oid = indrelid
  UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN tables t ON t.oid = conrelid
  UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN tables t ON t.oid = stxrelid
  UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN tables t ON t.oid = polrelid
  UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN tables t ON t.oid = ev_class
  UNION ALL SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a JOIN tables t ON t.oid = a.adrelid
            JOIN pg_attribute c ON c.attrelid = a.adrelid AND c.attnum = a.adnum AND c.attgenerated <> '')
SELECT pg_describe_object(d.refclassid, d.refobjid, 0)
FROM pg_depend d JOIN users u ON (d.classid, d.objid) = (u.classid, u.oid)
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass)
  AND NOT EXISTS (SELECT FROM members m WHERE (m.classid, m.objid) = (d.refclassid, d.refobjid))
UNION ALL
SELECT pg_describe_object(m.classid, m.objid, 0)
FROM members m
JOIN pg_proc p ON p.oid = m.objid AND m.classid = 'pg_proc'::regclass
JOIN pg_language l ON l.oid = p.prolang
JOIN pg_roles r ON r.oid = p.proowner
WHERE l.lanname NOT IN ('c', 'internal') OR NOT (r.rolsuper OR r.rolname = session_user)
LIMIT 1
"""
_QUERY_VECTOR = """
SELECT CAST({column} AS pg_catalog.text) FROM {table}
WHERE {column} IS NOT NULL AND {size} OPERATOR(pg_catalog.>) 0 LIMIT 1
"""
_PLAIN = "SELECT {id} FROM {table} ORDER BY {column} {operator} $1 LIMIT $2"


class Asked(NamedTuple):
    """The fault of the reader's query, if any, or the reason why it was not asked or tells nothing."""

    fault: Fault | None = None
    note: str | None = None


def ask(context: Context, reader: str) -> Asked:
    """Ask the reader's query once, as the reader, if no code but PostgreSQL's and pgvector's could run meanwhile."""
    column, connection = context.vector_column, context.connection
    if column is None or column.metric is None:
        return Asked()
    is_reader, may_become = connection.execute(_IS_READER, {"role": reader}).fetchone() or (False, False)
    reason = None if is_reader else _reason_not_to_become(context, reader, may_become=may_become)
    reason = reason or _reason_not_to_name(context, reader, column.extension)
    if reason:
        return Asked(note=f"the reader's query was not asked: {reason}")
    try:
        with connection.transaction(force_rollback=True), context.as_reader(column):
            return _Question(context, column, reader, is_reader=is_reader).ask()
    except ReaderRefusedError as error:
        return Asked(Fault(str(error), "Grant the reader the privilege that the message names."))
    except (CannotImpersonateError, NotAllowedError) as error:
        return Asked(note=f"the reader's query was not asked: {error}")
    except psycopg.Error as error:
        return _asked_with_error(context, reader, error)


def _reason_not_to_become(context: Context, reader: str, *, may_become: bool) -> str | None:
    connect = f"connect as {reader}"
    if not may_become or context.table.row_security:
        return connect
    values = {"table": context.table.oid, "extension": EXTENSION}
    row = context.connection.execute(_FOREIGN_CODE, values).fetchone()
    return f"it could run the {row[0]} with this login's rights: {connect}" if row else None


def _reason_not_to_name(context: Context, reader: str, extension: str) -> str | None:
    """Return the fault of the names in the query, which the check extension reports, or None."""
    if not context.has_usage(reader, extension):
        return f"it may not use the schema {extension} of pgvector"
    others = shadows(context.connection, reader, context.reader_path)
    return f"it finds the {others[0]} first" if others else None


def _asked_with_error(context: Context, reader: str, error: psycopg.Error) -> Asked:
    if context.connection.closed or is_connection_lost(error):
        raise error
    words = one_line(error)
    unsure = isinstance(error, errors.QueryCanceled | errors.LockNotAvailable)
    if unsure or find_damage(error, context):
        return Asked(note=f"the reader's query was not asked: {words}")
    return Asked(Fault(f"the query of {reader} fails: {words}", "See the server's log for the cause."))


class _Question:
    """The reader's query in a session that has its settings, and its rights if they are not the login's."""

    def __init__(self, context: Context, column: VectorColumn, reader: str, *, is_reader: bool) -> None:
        self.context = context
        self.connection = context.connection
        self.column = column
        self.reader = reader
        self.is_reader = is_reader
        self.k = context.declared.recall.k if context.declared.recall else NEIGHBORS

    def ask(self) -> Asked:
        """Ask without the reader's timeout, then with it."""
        set_timeout(self.connection, "statement_timeout", self.context.deadline.seconds_left)
        query = self._query_vector()
        if query is None:
            return self._no_row() if self.context.table.row_security else Asked()
        statement = self._statement()
        if not fetch_all(self.connection, statement, query, self.k):
            truth = exact_distances(self.connection, self.column, query, self.k)
            if truth:
                message = f"the query of {self.reader} returns no row, an exact search {len(truth)}"
                return Asked(Fault(message, "Rebuild the index: REINDEX INDEX."))
            return self._no_row()
        return self._with_timeout(lambda: fetch_all(self.connection, statement, query, self.k))

    def _query_vector(self) -> str | None:
        statement = sql.SQL(_QUERY_VECTOR).format(
            column=sql.Identifier(self.column.name), table=self.column.relation, size=self.column.size
        )
        rows = fetch_all(self.connection, statement)
        return str(rows[0][0]) if rows else None

    def _no_row(self) -> Asked:
        return Asked(note=f"row security shows {self.reader} no row without a setting of the application")

    def _statement(self) -> sql.Composed:
        """Return the query, in plain names only if the login is the reader: a look-alike could be created meanwhile."""
        path = self.context.reader_path
        if not self.is_reader or self.column.cast or self.column.bits or self.column.extension not in path:
            return self.column.nearest(sql.SQL("$1"), sql.SQL("$2"))
        assert self.column.metric is not None
        self.connection.execute("SET LOCAL search_path TO DEFAULT")
        name = self.context.name
        is_on_path = name.schema in path
        return sql.SQL(_PLAIN).format(
            id=sql.Identifier(self.context.declared.id or self.column.name),
            table=sql.Identifier(name.table) if is_on_path else self.column.relation,
            column=sql.Identifier(self.column.name),
            operator=sql.SQL(OPERATORS[self.column.metric]),
        )

    def _with_timeout(self, query: Callable[[], object]) -> Asked:
        timeout = shortest_timeout(self.context, is_reader=self.is_reader)
        if timeout is None or timeout.milliseconds >= 1000 * self.context.deadline.seconds_left:
            return Asked()
        in_time = 0
        for _ in range(_TRIES):
            with suppress(errors.QueryCanceled), self.connection.transaction(force_rollback=True):
                set_timeout(self.connection, "statement_timeout", timeout.milliseconds / 1000)
                query()
                in_time += 1
        if 2 * in_time > _TRIES:
            return Asked()
        message = f"the query of {self.reader} reaches its {timeout.name} of {timeout.milliseconds} ms"
        return Asked(Fault(message, self.context.alter_role(self.reader, timeout.name, "'10s'")))
