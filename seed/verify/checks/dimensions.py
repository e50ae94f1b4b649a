"""The dimensions of the rows, for a column that does not declare them."""

from __future__ import annotations

from contextlib import suppress

from psycopg import errors, sql

from pgvector_seed.common.text import counted
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import sample_percentage

from ..context import Context, NotAllowedError

_DIMENSIONS = """
SET LOCAL statement_timeout = 1000; SET LOCAL lock_timeout = 1; -- this is only told
SELECT DISTINCT {dimensions} FROM (SELECT {column} AS vector FROM {table} TABLESAMPLE SYSTEM ({percent})
                                   WHERE {column} IS NOT NULL LIMIT {sampled}) AS sampled ORDER BY 1
"""
_TYPES = ("vector", "halfvec", "sparsevec")
_SAMPLED = 5000
_MOST_TOLD = 5


def dimensions_of_rows(context: Context) -> str:
    """Return a note on the dimensions of a sample of the rows; "" if the column declares them, or it cannot be read."""
    column = context.vector_column
    if column is None or column.dimensions > 0 or column.type not in _TYPES:
        return ""
    with suppress(NotAllowedError, errors.QueryCanceled, errors.LockNotAvailable), context.connection.transaction():
        context.require_all_rows(column.name)
        numbers = _read(context, column)
        told = " and ".join(f"{number:,}" for number in numbers[:_MOST_TOLD])
        if len(numbers) > _MOST_TOLD:
            return f", rows of {counted(len(numbers), 'different dimension')}"
        return f", rows of {told} dimensions" if told else ""
    return ""


def _read(context: Context, column: VectorColumn) -> list[int]:
    # pgvector has no function for the dimensions of a sparsevec: its text ends with them.
    dimensions = sql.SQL("{}(vector)").format(sql.Identifier(column.extension, "vector_dims"))
    if column.type == "sparsevec":
        dimensions = sql.SQL("CAST(split_part(CAST(vector AS text), '/', 2) AS int)").format()
    statement = sql.SQL(_DIMENSIONS).format(
        dimensions=dimensions,
        column=sql.Identifier(column.name),
        table=column.relation,
        percent=sample_percentage(context.size_in_bytes),
        sampled=_SAMPLED,
    )
    return [number for (number,) in query_catalog(context.connection, statement)]
