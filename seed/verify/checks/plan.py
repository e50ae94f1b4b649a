"""plan: the reader's own query uses the index."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.explain import Scan, plan_cached, plan_once, reset_planner_settings
from pgvector_seed.vectors.queries import stored_vectors
from pgvector_seed.vectors.tables import Leaf

from ..context import LARGE, Look
from ..model import Check, Outcome, failed, not_declared, passed, skipped

NEIGHBOURS = 10  # where the contract does not say how many a reader asks for

_INDEXES = """
SELECT x.relname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
WHERE i.indrelid = ANY (%s)
"""
_REMEDY = "A setting keeps the planner off it. See what the reader gets: SELECT * FROM pg_db_role_setting;"


def judge(look: Look) -> Outcome:
    """Judge the plan of a query with its values, and of the same as a prepared statement."""
    column = look.searched
    if column is None or column.metric is None or not look.table.indexes:
        return not_declared("an index and its metric")
    with look.as_reader(column):
        leaves = look.large_leaves()
        if not leaves:
            return skipped(f"fewer than {LARGE:,} rows: the planner is right to read them all")
        query = next(iter(stored_vectors(look.connection, column, look.bytes, 1)), None)
        if query is None:
            return skipped("there is no vector to ask for")
        return _judge_scans(look, column, query, leaves)


def _judge_scans(look: Look, column: VectorColumn, query: str, leaves: Sequence[Leaf]) -> Outcome:
    expected = f"the {_neighbours(look)} nearest neighbours by an index"
    for planned, words in ((plan_once, ""), (plan_cached, ", as a prepared statement")):
        scans = planned(look.connection, column, query, _neighbours(look))
        other = _without_index(look, scans, leaves)
        if not other:
            continue
        reset_planner_settings(look.connection)
        if _without_index(look, planned(look.connection, column, query, _neighbours(look)), leaves):
            return skipped(f"{other}: by PostgreSQL's own costs, too, that is less work than the index", expected)
        return failed(expected, other + words, _REMEDY)
    return passed("it uses " + ", ".join(sorted({scan.index for scan in scans if scan.index})), expected)


def _neighbours(look: Look) -> int:
    return look.table.recall.k if look.table.recall else NEIGHBOURS


def _without_index(look: Look, scans: Sequence[Scan], leaves: Sequence[Leaf]) -> str:
    """How large partitions, or the table, are read otherwise than by an index of pgvector; "" when none is."""
    indexes = {name for (name,) in look.connection.execute(_INDEXES, ([leaf.oid for leaf in leaves],))}
    large = {leaf.table for leaf in leaves}
    other = [scan for scan in scans if scan.relation in large and scan.index not in indexes]
    return ", ".join(f"{scan.node} on {scan.relation}" for scan in other)


CHECK = Check(
    "plan",
    "a setting keeps the reader's own query off the index (skipped below 2,000 rows)",
    judge,
    after=("extension", "table", "column", "index", "roles"),
)
