"""The check column: the vector column has the declared type and dimensions, and the ids are unique."""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.postgres.catalog import Column

from ..context import Context, NotAllowedError
from ..deadline import OutOfTimeError
from ..model import Check, Fault, Outcome, failed_with, not_declared, passed
from .dimensions import dimensions_of_rows
from .ids import id_faults
from .retype import retype_remedy
from .table import SEE_MIGRATIONS


def run(context: Context) -> Outcome:
    """Compare the declared vector and id columns with the catalog; read the ids if no index makes them unique."""
    table = context.declared
    if table.vector is None and table.id is None:
        return not_declared("columns")
    vector_faults = list(_vector_faults(context))
    faults, notes = list(vector_faults), list[str]()
    try:
        faults += id_faults(context, notes)
    except (NotAllowedError, OutOfTimeError):
        if not faults:
            raise
    expected = ", ".join(filter(None, [_expected_vector(context), f"unique {table.id}" if table.id else ""]))
    if faults:
        return failed_with(expected, faults, blocks=None if vector_faults else frozenset())
    column = context.catalog_column
    parts = [
        f"{table.vector} {_type(column)}{dimensions_of_rows(context)}" if column else None,
        f"unique {table.id}" if table.id else None,
        *notes,
    ]
    return passed(", ".join(filter(None, parts)), expected)


def _expected_vector(context: Context) -> str | None:
    table = context.declared
    if table.vector is None:
        return None
    dimensions = f"({table.dimensions})" if table.dimensions else ""
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
    if other_type or other_schema or table.dimensions not in (None, column.modifier):
        yield Fault(f"{table.vector} is {_type(column)}{dimensions_of_rows(context)}", retype_remedy(context, column))


def _type_schema(context: Context, column: Column) -> str | None:
    """Return the schema of pgvector's type, or of bit: another schema may have a type of the same name."""
    return "pg_catalog" if column.type == "bit" else context.extension.schema if context.extension else None


CHECK = Check(
    "column",
    "the vector column is missing or has another type or dimension, or the ids are not unique",
    run,
    after=("extension", "table"),
)
