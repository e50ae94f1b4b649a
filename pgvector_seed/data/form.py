"""The form in which a search orders by its column: as it is, or as the cast or the bits that an index is on."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pgvector_seed.data.asking import searching
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import Selection, VectorColumn
from pgvector_seed.vectors.explain import plan_asked, set_locally
from pgvector_seed.vectors.index_use import NO_OTHER_PLAN
from pgvector_seed.vectors.indexes import ColumnIndex, exactness
from pgvector_seed.vectors.metrics import OPERATORS

# The values of the condition are not known yet.
_SETTINGS = {**NO_OTHER_PLAN, "plan_cache_mode": "force_generic_plan", "transaction_read_only": "on"}


def searched_column(
    connection: Connection,
    target: Target,
    metric: str,
    indexes: Sequence[ColumnIndex],
    condition: sql.Composable | None,
    values: int,
) -> VectorColumn:
    """Return the column in the form of an index that serves the search: the most exact form, if there are several.

    The form of a partial index counts only if the ``condition``, with parameters for its ``values``, implies that of
    the index: for other rows bits tell too little, and a cast may fail. Call it in a transaction.
    """
    plain = _in_form(target, metric, None, bits=False)
    serving = [index for index in indexes if index.valid and index.serves(OPERATORS[metric])]
    for index in sorted(serving, key=lambda index: exactness(index.cast, index.bits)):
        is_partial = index.predicate is not None
        if is_partial and condition is None:
            continue
        if index.cast is None and not index.bits:
            return plain
        if target.dimensions is None:  # the form needs them
            continue
        column = _in_form(target, metric, index.cast, bits=index.bits)
        if not is_partial or condition is None or _is_served(connection, column, condition, values):
            return column
    return plain


def _in_form(target: Target, metric: str, cast: str | None, *, bits: bool) -> VectorColumn:
    return VectorColumn(
        target.name.schema,
        target.name.table,
        target.vector.name,
        target.vector.type,
        metric,
        target.extension,
        target.dimensions or 0,
        cast,
        bits,
    )


def _is_served(connection: Connection, column: VectorColumn, condition: sql.Composable, values: int) -> bool:
    """Return True if a partial index can serve the search, whatever the values."""
    query, k = (sql.SQL(f"${values + number}") for number in (1, 2))
    statement = column.nearest(query, k, Selection((), condition)).as_bytes()
    with searching(), connection.transaction(force_rollback=True):
        for name, value in _SETTINGS.items():
            set_locally(connection, name, value)
        return any(scan.ordered for scan in plan_asked(connection, statement, ()))
