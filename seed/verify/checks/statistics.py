"""The check statistics: the planner has fresh statistics of the table and of its vector column."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from pgvector_seed.common.text import counted
from pgvector_seed.vectors.tables import LARGE, Leaf

from ..context import Context
from ..model import Check, Outcome, failed, passed
from ..replica import is_standby

# Autovacuum analyzes after a change of 10 %; twice as much means that it did not run.
_STALE = 0.2
# A session reports its counts up to 60 s late (PGSTAT_MAX_INTERVAL), so those of changes before an ANALYZE may
# arrive after it.
_COUNTERS = """
SELECT pg_stat_get_mod_since_analyze(%(oid)s),
       coalesce(now() - greatest(pg_stat_get_last_analyze_time(%(oid)s),
                                            pg_stat_get_last_autoanalyze_time(%(oid)s))
                > make_interval(secs => 60), true)
"""
# pg_stats shows a column only to a role that may read it in this partition.
_HAS_STATISTICS = """
SELECT NOT has_column_privilege(%(oid)s::oid, %(column)s::text, 'SELECT')
    OR EXISTS (SELECT FROM pg_stats s
               JOIN pg_class c ON c.relname = s.tablename
               JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
               WHERE c.oid = %(oid)s AND s.attname = %(column)s)
"""
_EXPECTED = "fresh statistics"


def run(context: Context) -> Outcome:
    """Check each partition with at least LARGE rows; autovacuum does not analyze the partitioned table itself."""
    context.require_all_rows(context.declared.vector, context.declared.id)
    leaves = context.large_leaves()
    if not leaves:
        return passed(f"fewer than {LARGE:,} rows: the planner needs no statistics", _EXPECTED)
    standby = is_standby(context.connection)
    faults = [fault for leaf in leaves for fault in _faults(context, leaf, counts_changes=not standby)]
    if faults:
        return failed(_EXPECTED, "; ".join(faults), sql.SQL("ANALYZE {};").format(context.sql_name).as_string())
    return passed("analyzed: a standby does not count changes since" if standby else "fresh", _EXPECTED)


def _faults(context: Context, leaf: Leaf, *, counts_changes: bool) -> Iterator[str]:
    if leaf.reltuples < 0:
        yield f"{leaf.name} was never analyzed (reltuples is -1)"
    if _lacks_statistics(context, leaf):
        yield f"no statistics of {leaf.name}.{context.declared.vector}"
    if not counts_changes:
        return
    row = context.connection.execute(_COUNTERS, {"oid": leaf.oid}).fetchone()
    changed, counters_arrived = row or (0, False)
    if counters_arrived and changed > max(_STALE * leaf.reltuples, LARGE / 2):
        yield f"{counted(changed, 'row')} of {leaf.name} changed since it was analyzed"


def _lacks_statistics(context: Context, leaf: Leaf) -> bool:
    if context.catalog_column is None or not context.catalog_column.wants_statistics:
        return False
    values = {"oid": leaf.oid, "column": context.declared.vector}
    return context.connection.execute(_HAS_STATISTICS, values).fetchone() == (False,)


CHECK = Check(
    "statistics",
    "the table was never analyzed, the vector column has no statistics, or many rows have changed since (not "
    "below 2,000 rows)",
    run,
    after=("table",),
)
