"""The further columns that a contract declares, by the keys ``fresh`` and ``model``."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from psycopg import errors, sql

from pgvector_seed.migrate.contract import DeclaredFreshness, DeclaredTable

from ..context import Context
from ..model import Fault
from .table import SEE_MIGRATIONS

_MISSING_COLUMNS = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS declared (name, place)
WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %s AND attname = name AND NOT attisdropped)
ORDER BY place
"""


def usable_keys(context: Context, declared: DeclaredTable) -> tuple[DeclaredTable, list[Fault]]:
    """Return the declaration without those of the keys that cannot be judged, and a fault for each reason.

    Raises NotAllowedError if the login may not read the columns, or row security hides rows from it.
    """
    fresh, model = _columns_of_fresh(declared), _columns_of_model(declared)
    missing = _missing_columns(context, [*fresh, *model])
    faults = [Fault(f"the column {name} does not exist", SEE_MIGRATIONS) for name in missing]
    if set(missing) & set(fresh):
        declared = replace(declared, fresh=None)
    if set(missing) & set(model):
        declared = replace(declared, model=None)
    context.require_all_rows(declared.vector, *_columns_of_fresh(declared), *_columns_of_model(declared))
    if declared.fresh and not _are_comparable(context, declared.fresh):
        message = f"the columns {declared.fresh.embedded} and {declared.fresh.updated} cannot be compared"
        faults.append(Fault(message, "Fix the contract, or give both the type timestamptz in a migration."))
        declared = replace(declared, fresh=None)
    return declared, faults


def _columns_of_fresh(declared: DeclaredTable) -> list[str]:
    return [declared.fresh.embedded, declared.fresh.updated] if declared.fresh else []


def _columns_of_model(declared: DeclaredTable) -> list[str]:
    return [declared.model.column] if declared.model else []


def _missing_columns(context: Context, columns: Sequence[str]) -> list[str]:
    if not columns:
        return []
    rows = context.connection.execute(_MISSING_COLUMNS, (columns, context.table.oid))
    return [name for (name,) in rows]


def _are_comparable(context: Context, fresh: DeclaredFreshness) -> bool:
    columns = map(sql.Identifier, (fresh.embedded, fresh.updated))
    statement = sql.SQL("SELECT {} >= {} FROM {} LIMIT 0").format(*columns, context.sql_name)
    try:
        with context.connection.transaction(force_rollback=True):
            context.connection.execute(statement)
    except errors.UndefinedFunction:
        return False
    return True
