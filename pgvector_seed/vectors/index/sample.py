"""Build an index on a copy of some rows, to measure its recall before the table's own index is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from pgvector_seed.postgres.catalog import TableName
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.index.conditions import require_buildable
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.memory import lists_for
from pgvector_seed.vectors.index.rows import estimate_rows
from pgvector_seed.vectors.index.statement import PLAIN, create_statement
from pgvector_seed.vectors.index.target import resolve

_COPY = TableName("pg_temp", "pgvector_seed_sample")
_CREATE = """
CREATE TEMPORARY TABLE {copy} AS
SELECT {column} FROM {table} TABLESAMPLE BERNOULLI ({percent}) WHERE {column} IS NOT NULL LIMIT {rows}
"""


@contextmanager
def build_on_sample(connection: Connection, definition: IndexDefinition, rows: int) -> Iterator[TableName]:
    """Yield a temporary table with at most ``rows`` random rows of the column, and the index on it."""
    target = resolve(connection, definition)
    operator_class = require_buildable(connection, target)
    estimate = estimate_rows(connection, [target.table])
    copy = sql.Identifier(_COPY.schema, _COPY.table)
    with translated("building the index on a copy"):
        statement = sql.SQL(_CREATE).format(
            copy=copy,
            column=sql.Identifier(definition.column),
            table=target.relation,
            percent=sql.Literal(min(100.0, 110.0 * rows / max(estimate, 1))),
            rows=sql.Literal(rows),
        )
        parameters = dict(definition.parameters)
        if definition.method == "ivfflat":
            parameters.setdefault("lists", lists_for(rows))
        connection.execute(statement)
        name = f"{_COPY.table}_index"
        connection.execute(create_statement(target, operator_class, name, copy, parameters, form=PLAIN))
    try:
        yield _COPY
    finally:
        connection.execute(sql.SQL("DROP TABLE {}").format(copy))
