"""The check plan: the reader's query uses a vector index."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.explain import Scan, plan_cached, plan_once, reset_planner_settings
from pgvector_seed.vectors.indexes import vector_index_names
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.tables import Leaf

from ..context import LARGE, Context
from ..model import Check, Outcome, failed, not_declared, passed, skipped

NEIGHBOURS = 10  # k of the query if the contract declares no recall

_REMEDY = "A setting keeps the planner off the index. To see the settings: SELECT * FROM pg_db_role_setting;"


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
        return _compare_plans(context, column, query, leaves)


def _compare_plans(context: Context, column: VectorColumn, query: str, leaves: Sequence[Leaf]) -> Outcome:
    expected = f"the {_neighbors(context)} nearest neighbors by an index"
    for explain, note in ((plan_once, ""), (plan_cached, ", as a prepared statement")):
        scans = explain(context.connection, column, query, _neighbors(context))
        other = _without_index(context, scans, leaves)
        if not other:
            continue
        reset_planner_settings(context.connection)
        if _without_index(context, explain(context.connection, column, query, _neighbors(context)), leaves):
            return skipped(f"{other}: with the default costs, too, the planner prefers it to the index", expected)
        return failed(expected, other + note, _REMEDY)
    return passed("uses " + ", ".join(sorted({scan.index for scan in scans if scan.index})), expected)


def _neighbors(context: Context) -> int:
    return context.declared.recall.k if context.declared.recall else NEIGHBOURS


def _without_index(context: Context, scans: Sequence[Scan], leaves: Sequence[Leaf]) -> str | None:
    """Describe the scans of the table, or of its large partitions, that use no vector index; None if all use one."""
    indexes = vector_index_names(context.connection, [leaf.oid for leaf in leaves])
    large = {leaf.table for leaf in leaves}
    other = [scan for scan in scans if scan.relation in large and scan.index not in indexes]
    return ", ".join(f"{scan.node} on {scan.relation}" for scan in other) or None


CHECK = Check(
    "plan",
    "a setting keeps the reader's query off the index (skipped below 2,000 rows)",
    run,
    after=("extension", "table", "column", "index", "roles"),
)
