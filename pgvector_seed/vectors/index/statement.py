"""The statement that builds a declared index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from psycopg import sql

from pgvector_seed.vectors.index.target import IndexTarget
from pgvector_seed.vectors.indexes import with_clause

# The forms of the statement: for a table in use, for a partitioned one without its partitions, and for a new one.
CONCURRENTLY: LiteralString = "CREATE INDEX CONCURRENTLY {name} ON {table}"
ONLY: LiteralString = "CREATE INDEX {name} ON ONLY {table}"
PLAIN: LiteralString = "CREATE INDEX {name} ON {table}"


def create_statement(
    target: IndexTarget,
    operator_class: sql.Identifier,
    name: str,
    table: sql.Identifier,
    parameters: Mapping[str, int | float | str | bool],
    *,
    form: LiteralString,
) -> sql.Composed:
    """Return CREATE INDEX for the declared index of ``target``, on ``table``, with these parameters."""
    return sql.SQL(f"{form} USING {{method}} (({{expression}}) {{operator_class}}){{with_}}").format(
        name=sql.Identifier(name),
        table=table,
        method=sql.Identifier(target.definition.method),
        expression=target.expression,
        operator_class=operator_class,
        with_=with_clause(parameters),
    )
