"""Build an index on a copy of some rows, to measure its recall before the table's own index is replaced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pgvector_seed.postgres.catalog import TableName
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import set_search_path
from pgvector_seed.vectors.index.conditions import require_buildable
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.memory import (
    build_session,
    estimate_memory,
    lists_for,
    plan_settings,
    settings_applied,
)
from pgvector_seed.vectors.index.rows import estimate_rows, vector_bytes
from pgvector_seed.vectors.index.statement import PLAIN, create_statement
from pgvector_seed.vectors.index.target import IndexTarget, resolve
from pgvector_seed.vectors.tables import leaves

_COPY = TableName("pg_temp", "pgvector_seed_sample")
_COPY_NAME = sql.Identifier(_COPY.schema, _COPY.table)
_CREATE = """
CREATE TEMPORARY TABLE {copy} AS
SELECT {column} FROM {table} TABLESAMPLE BERNOULLI ({percent}) WHERE {column} IS NOT NULL LIMIT {rows}
"""
_MOST_ROWS = 2**63 - 1  # of LIMIT


@dataclass(frozen=True)
class Sample:
    """A temporary table with random rows, and their number."""

    name: TableName
    rows: int


@contextmanager
def build_on_sample(connection: Connection, definition: IndexDefinition, rows: int) -> Iterator[Sample]:
    """Yield a temporary table with at most ``rows`` random rows of the column, and the index on it.

    An ivfflat index has the lists of the table's own: a search probes the same share of them.
    """
    target = resolve(connection, definition)
    operator_class = require_buildable(connection, target)
    with translated("building the index on a copy"), build_session(connection):
        table_rows = estimate_rows(connection, [leaf.oid for leaf in leaves(connection, target.table)])
        parameters = dict(definition.parameters)
        if definition.method == "ivfflat":
            parameters.setdefault("lists", lists_for(table_rows))
        # One transaction leaves no copy behind if the build fails.
        with connection.transaction():
            set_search_path(connection, "pg_catalog", "pg_temp")
            copied = _copy(connection, target, min(rows, _MOST_ROWS), table_rows)
            needed = estimate_memory(definition.method, copied, vector_bytes(connection, target), parameters)
            name = f"{_COPY.table}_index"
            create = create_statement(target, operator_class, name, _COPY_NAME, parameters, form=PLAIN)
            with settings_applied(connection, plan_settings(connection, needed, None, workers=0)):
                connection.execute(create)
    try:
        yield Sample(_COPY, copied)
    finally:
        with suppress(psycopg.Error):  # of a lost connection, with which the copy is gone
            connection.execute(sql.SQL("DROP TABLE {}").format(_COPY_NAME))


def _copy(connection: Connection, target: IndexTarget, rows: int, table_rows: int) -> int:
    """Create the copy, and return the number of its rows."""
    drawn = rows + 5 * math.isqrt(rows)  # five standard deviations more than needed: each row is drawn by chance
    statement = sql.SQL(_CREATE).format(
        copy=_COPY_NAME,
        column=sql.Identifier(target.definition.column),
        table=target.relation,
        percent=sql.Literal(min(100.0, 100.0 * drawn / max(table_rows, 1))),
        rows=sql.Literal(rows),
    )
    return connection.execute(statement).rowcount
