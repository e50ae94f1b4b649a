"""The remedy for a vector column of another type or dimension, which depends on its rows."""

from __future__ import annotations

from contextlib import suppress

from psycopg import errors, sql

from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.postgres.catalog import Column
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.indexes import indexes_on_column

from ..context import Context, NotAllowedError

# pgvector has a cast between any two of these; it keeps the dimensions.
_CAST = frozenset({"vector", "halfvec", "sparsevec"})
_COUNTED = frozenset({"vector", "halfvec"})  # the types that vector_dims takes
_SHARE_OF_TIME = 0.05

_NEW_COLUMN = (
    "ALTER TABLE fails on rows with other vectors. Add a new column instead,\n"
    "embed the rows into it, build its index, switch the queries to it, and\n"
    "drop the old column" + in_checkout(' (docs/migrations.md, "Change the dimensions")') + "."
)
_DIMS = "vector_dims"
_DIMENSIONS = "SELECT DISTINCT {function}({column}) FROM {table} WHERE {column} IS NOT NULL LIMIT 3"
_HAS_VECTOR = "SELECT EXISTS (SELECT FROM {table} WHERE {column} IS NOT NULL)"


def retype_remedy(context: Context, column: Column) -> str:
    """Return the statements that give a column its declared type, or the steps to a new column if they would fail."""
    declared = context.declared
    type_ = declared.type or EXTENSION
    same_type = type_ == column.type
    if type_ in _CAST and column.type in _CAST and not same_type and declared.dimensions in (None, column.modifier):
        return _migration(context, column, f"{type_}({column.modifier})")
    new = f"{type_}({declared.dimensions or 'N'})"
    if _is_empty(context):
        using = "" if same_type or {type_, column.type} <= _CAST else " USING NULL"
        return _migration(context, column, new + using)
    rows = _dimensions(context) if column.modifier <= 0 and column.type in _COUNTED else None
    if rows and same_type and len(rows) == 1 and declared.dimensions in (None, *rows):
        return _migration(context, column, f"{type_}({rows[0]})")
    if rows:
        return f"The rows have vectors of {' and '.join(map(str, rows))} dimensions.\n{_NEW_COLUMN}"
    if same_type and column.modifier <= 0 and type_ in _COUNTED:
        names = {"column": sql.Identifier(declared.vector or ""), "table": context.sql_name}
        count = sql.SQL("SELECT DISTINCT vector_dims({column}) FROM {table};").format(**names).as_string()
        only = f"-- If this gives {declared.dimensions or 'one number, N'} alone, in a migration:"
        return "\n".join(
            [count, only, _alter(context, new), "-- If not:", *(f"-- {line}" for line in _NEW_COLUMN.splitlines())]
        )
    return _NEW_COLUMN


def _is_empty(context: Context) -> bool:
    """Return True if the column certainly has no vector: False also if it cannot be read, or not soon enough."""
    statement = sql.SQL(_HAS_VECTOR).format(
        table=context.sql_name, column=sql.Identifier(context.declared.vector or "")
    )
    with suppress(NotAllowedError, errors.LockNotAvailable, errors.InsufficientPrivilege):
        context.require_all_rows(context.declared.vector)
        has_vector = context.deadline.within(
            context.connection, _SHARE_OF_TIME, lambda: bool(context.fetch_value(statement))
        )
        return has_vector is False
    return False


def _dimensions(context: Context) -> list[int] | None:
    """Return up to three dimensions that rows have; None if the rows cannot be read, or not soon enough."""
    if context.extension is None:
        return None
    column, function = sql.Identifier(context.declared.vector or ""), sql.Identifier(context.extension.schema, _DIMS)
    query = sql.SQL(_DIMENSIONS).format(function=function, column=column, table=context.sql_name)
    with suppress(NotAllowedError, errors.LockNotAvailable, errors.InsufficientPrivilege):
        context.require_all_rows(context.declared.vector)
        return context.deadline.within(
            context.connection, _SHARE_OF_TIME, lambda: sorted(row[0] for row in context.connection.execute(query))
        )
    return None


def _migration(context: Context, column: Column, new: str) -> str:
    # The operator class of an index keeps its column from another type.
    other_type = column.type != new.partition("(")[0]
    indexes = indexes_on_column(context.connection, context.table.oid, column.number) if other_type else ()
    drops = [
        sql.SQL("DROP INDEX {};").format(sql.Identifier(index.schema, index.name)).as_string() for index in indexes
    ]
    return "\n".join(["-- In a migration:", *drops, _alter(context, new)])


def _alter(context: Context, new: str) -> str:
    alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE ").format(
        context.sql_name, sql.Identifier(context.declared.vector or "")
    )
    return f"{alter.as_string()}{new};"
