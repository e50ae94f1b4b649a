"""column: the vector column has its type and dimensions, and every id stands for one row."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.postgres.catalog import Column, find_column
from pgvector_seed.vectors.extension import EXTENSION

from ..context import Look, NotAllowedError
from ..model import Check, Fault, Outcome, failed_by, not_declared, passed

# Whether a unique index has this column alone. Of a partitioned table it must have the partition key too,
# and then only the rows can tell.
_UNIQUE = """
SELECT bool_or(i.indnkeyatts = 1)
FROM pg_index i
LEFT JOIN pg_partitioned_table p ON p.partrelid = i.indrelid
WHERE i.indrelid = %(table)s AND i.indisunique AND i.indisvalid AND i.indisready
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND %(column)s = ANY (i.indkey[0 : i.indnkeyatts - 1])
  AND i.indkey[0 : i.indnkeyatts - 1] <@ (%(column)s || coalesce(p.partattrs::int2[], '{}'))
"""
_TWICE = "SELECT {id} FROM {table} GROUP BY {id} HAVING count(*) > 1 LIMIT 1"
_EMPTY = "SELECT EXISTS (SELECT FROM {table} WHERE {id} IS NULL)"


def judge(look: Look) -> Outcome:
    """Judge the column that is declared as the vector, and the one that is declared as the id."""
    table = look.table
    if table.vector is None and table.id is None:
        return not_declared("columns")
    faults = list(_faults_of_vector(look))
    try:
        faults += _faults_of_id(look)
    except NotAllowedError:
        if not faults:
            raise
    expected = ", ".join(filter(None, [_expected(look), f"unique {table.id}" if table.id else ""]))
    if faults:
        return failed_by(expected, faults)
    return passed(f"{table.vector} {_type(look.vector)}" if look.vector else f"unique {table.id}", expected)


def _expected(look: Look) -> str:
    table = look.table
    if table.vector is None:
        return ""
    dimensions = f"({table.dimensions})" if table.dimensions else "" if table.type else "with its dimensions"
    return " ".join(filter(None, [table.vector, f"{table.type or ''}{dimensions}"]))


def _type(found: Column | None) -> str:
    if found is None:
        return "nothing"
    return found.type + (f"({found.modifier})" if found.modifier > 0 else " without dimensions")


def _faults_of_vector(look: Look) -> Iterator[Fault]:
    table, found = look.table, look.vector
    if table.vector is None:
        return
    if found is None:
        yield Fault(f"there is no column {table.vector}", f"See what was applied: {PROGRAM} migrate status")
        return
    other_type = table.type not in (None, found.type) or found.type_schema not in (_home(look, found), None)
    if other_type or found.modifier <= 0 or table.dimensions not in (None, found.modifier):
        yield Fault(f"{table.vector} is {_type(found)}", _alter(look))


def _home(look: Look, found: Column) -> str | None:
    """Where a type of this name belongs: another schema may have its own type vector."""
    return "pg_catalog" if found.type == "bit" else look.extension.schema if look.extension else None


def _alter(look: Look) -> str:
    wanted = f"{look.table.type or EXTENSION}({look.table.dimensions or 'dimensions'})"
    statement = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE ").format(
        look.sql_name, sql.Identifier(look.table.vector or "")
    )
    return f"Embeddings of another model must be made anew. In a migration: {statement.as_string()}{wanted};"


def _faults_of_id(look: Look) -> Iterator[Fault]:
    name = look.table.id
    if name is None:
        return
    found = find_column(look.connection, look.there.oid, name)
    if found is None:
        yield Fault(f"there is no column {name}", f"See what was applied: {PROGRAM} migrate status")
        return
    row = look.connection.execute(_UNIQUE, {"table": look.there.oid, "column": found.number}).fetchone()
    alone = row[0] if row else None
    names = {"id": sql.Identifier(name), "table": look.sql_name}
    if alone is None:
        add = sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY ({id});").format(**names).as_string()
        yield Fault(f"nothing keeps {name} unique", add)
    if not found.not_null or alone is False:
        look.must_see_all(name)
    if not found.not_null and look.value(sql.SQL(_EMPTY).format(**names)):
        yield Fault(
            f"rows without {name}", sql.SQL("SELECT * FROM {table} WHERE {id} IS NULL;").format(**names).as_string()
        )
    if alone is False and (twice := look.value(sql.SQL(_TWICE).format(**names))) is not None:
        find = sql.SQL("SELECT * FROM {table} WHERE {id} = {value};").format(**names, value=sql.Literal(twice))
        yield Fault(f"{name} {twice} is there more than once", find.as_string())


CHECK = Check(
    "column",
    "the vector column has another type or dimension, or none, or ids are not unique",
    judge,
    after=("extension", "table"),
)
