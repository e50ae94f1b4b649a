"""The check column: the vector column has the declared type and dimensions, and the ids are unique."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from pgvector_seed.postgres.catalog import Column, find_column

from ..context import Context, NotAllowedError
from ..model import Check, Fault, Outcome, failed_with, not_declared, passed
from .retype import retype_remedy
from .table import SEE_MIGRATIONS

# True if a unique index has this column alone. False if only together with the partition key, which the index of a
# partitioned table must include: the rows are read then. NULL without such an index.
_IS_UNIQUE = """
SELECT bool_or(i.indnkeyatts = 1)
FROM pg_index i
LEFT JOIN pg_partitioned_table p ON p.partrelid = i.indrelid
WHERE i.indrelid = %(table)s AND i.indisunique AND i.indisvalid AND i.indisready
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND %(column)s = ANY (i.indkey[0 : i.indnkeyatts - 1])
  AND i.indkey[0 : i.indnkeyatts - 1] <@ (%(column)s || coalesce(p.partattrs::int2[], '{}'))
"""
_DUPLICATE = "SELECT {id} FROM {table} GROUP BY {id} HAVING count(*) > 1 LIMIT 1"
_HAS_NULL = "SELECT EXISTS (SELECT FROM {table} WHERE {id} IS NULL)"


def run(context: Context) -> Outcome:
    """Compare the declared vector and id columns with the catalog; read the ids if no index makes them unique."""
    table = context.declared
    if table.vector is None and table.id is None:
        return not_declared("columns")
    vector_faults = list(_vector_faults(context))
    faults = list(vector_faults)
    try:
        faults += _id_faults(context)
    except NotAllowedError:
        if not faults:
            raise
    expected = ", ".join(filter(None, [_expected_vector(context), f"unique {table.id}" if table.id else ""]))
    if faults:
        return failed_with(expected, faults, blocks=None if vector_faults else frozenset())
    column = context.catalog_column
    return passed(f"{table.vector} {_type(column)}" if column else f"unique {table.id}", expected)


def _expected_vector(context: Context) -> str | None:
    table = context.declared
    if table.vector is None:
        return None
    dimensions = f"({table.dimensions})" if table.dimensions else "" if table.type else "with its dimensions"
    return " ".join(filter(None, [table.vector, f"{table.type or ''}{dimensions}"]))


def _type(column: Column) -> str:
    return column.type + (f"({column.modifier})" if column.modifier > 0 else " without dimensions")


def _vector_faults(context: Context) -> Iterator[Fault]:
    table, column = context.declared, context.catalog_column
    if table.vector is None:
        return
    if column is None:
        yield Fault(f"the column {table.vector} does not exist", SEE_MIGRATIONS)
        return
    other_type = table.type not in (None, column.type)
    other_schema = column.type_schema not in (_type_schema(context, column), None)
    if other_type or other_schema or column.modifier <= 0 or table.dimensions not in (None, column.modifier):
        yield Fault(f"{table.vector} is {_type(column)}", retype_remedy(context, column))


def _type_schema(context: Context, column: Column) -> str | None:
    """Return the schema of pgvector's type, or of bit: another schema may have a type of the same name."""
    return "pg_catalog" if column.type == "bit" else context.extension.schema if context.extension else None


def _id_faults(context: Context) -> Iterator[Fault]:
    name = context.declared.id
    if name is None:
        return
    column = find_column(context.connection, context.table.oid, name)
    if column is None:
        yield Fault(f"the column {name} does not exist", SEE_MIGRATIONS)
        return
    row = context.connection.execute(_IS_UNIQUE, {"table": context.table.oid, "column": column.number}).fetchone()
    is_unique = row[0] if row else None
    names = {"id": sql.Identifier(name), "table": context.sql_name}
    if is_unique is None:
        add = sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY ({id});").format(**names).as_string()
        yield Fault(f"{name} has no unique index", add)
    if not column.not_null or is_unique is False:
        context.require_all_rows(name)
    if not column.not_null and context.fetch_value(sql.SQL(_HAS_NULL).format(**names)):
        yield Fault(
            f"{name} is NULL in some rows",
            _find(sql.SQL("SELECT * FROM {table} WHERE {id} IS NULL;").format(**names)),
        )
    if is_unique is False and (id_ := context.fetch_value(sql.SQL(_DUPLICATE).format(**names))) is not None:
        find = sql.SQL("SELECT * FROM {table} WHERE {id} = {value};").format(**names, value=sql.Literal(id_))
        yield Fault(f"several rows have the {name} {id_}", _find(find))


def _find(query: sql.Composed) -> str:
    return f"-- Give these rows other ids, or delete them. To find them:\n{query.as_string()}"


CHECK = Check(
    "column",
    "the vector column is missing or has another type or dimension, or the ids are not unique",
    run,
    after=("extension", "table"),
)
