"""The check plan: the reader's query uses a vector index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.explain import PlannerSetting, plan_cached, plan_once
from pgvector_seed.vectors.index_use import find_index_use
from pgvector_seed.vectors.indexes import indexes_on_column
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.tables import LARGE, Leaf
from pgvector_seed.vectors.unusable import Cause, Searched

from ..context import Context
from ..model import Check, Outcome, failed, not_declared, passed, skipped

NEIGHBOURS = 10  # k of the query if the contract declares no recall

_WHERE_SET = r"-- If another place sets it (a role, postgresql.conf), reset it there. To see the place, in psql: \drds"


def run(context: Context) -> Outcome:
    """Explain the query with a stored vector as its value, and as a prepared statement."""
    column = context.vector_column
    if column is None or column.metric is None or not context.declared.indexes:
        return not_declared("an index and its metric")
    with context.as_reader(column):
        leaves = context.large_leaves()
        if not leaves:
            return skipped(f"fewer than {LARGE:,} rows: a sequential scan is expected")
        query = next(iter(sample_queries(context.connection, column, context.size_in_bytes, 1)), None)
        if query is None:
            return skipped("the table has no vector to query with")
        return _judge_plans(context, column, query, leaves)


def _judge_plans(context: Context, column: VectorColumn, query: str, leaves: Sequence[Leaf]) -> Outcome:
    k = context.declared.recall.k if context.declared.recall else NEIGHBOURS
    expected = f"the {k} nearest neighbors by an index"
    searched = _searched(context, column, leaves)
    for explain, note in ((plan_once, ""), (plan_cached, ", as a prepared statement")):
        use = find_index_use(context.connection, partial(explain, context.connection, column, query, k), searched)
        if use.cause is Cause.SETTING:
            return failed(expected, f"{use.scans}{note}: {use.explained()}", _remedy(context, use.settings))
        if use.cause:
            return skipped(use.reason, expected)
    return passed("uses " + ", ".join(use.indexes), expected)


def _remedy(context: Context, settings: Sequence[PlannerSetting]) -> str:
    """Return the statements that reset the tablespaces' costs, or else the settings of the database."""
    resets = [f"ALTER TABLESPACE {cost.tablespace} RESET ({cost.name});" for cost in settings if cost.tablespace]
    if resets:
        return "\n".join(resets)
    database = context.quote(context.fetch_value("SELECT pg_catalog.current_database()"))
    return "\n".join([*(f"ALTER DATABASE {database} RESET {setting.name};" for setting in settings), _WHERE_SET])


def _searched(context: Context, column: VectorColumn, leaves: Sequence[Leaf]) -> Searched:
    assert context.catalog_column is not None and column.metric is not None  # noqa: PT018
    indexes = indexes_on_column(context.connection, context.table.oid, context.catalog_column.number)
    return Searched(context.declared.name, column.name, column.metric, indexes, leaves, leaves)


CHECK = Check(
    "plan",
    "a setting or a tablespace's cost keeps the reader's query off the index (skipped below 2,000 rows)",
    run,
    after=("extension", "table", "column", "index", "roles"),
)
