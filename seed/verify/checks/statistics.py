"""statistics: the planner knows the table as it is."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from pgvector_seed.vectors.tables import Leaf

from ..context import LARGE, Look
from ..model import Check, Outcome, failed, passed

# Autovacuum analyzes after a change of a tenth; twice as much has been left alone.
_STALE = 0.2
# A session tells its counts up to this late (PGSTAT_MAX_INTERVAL), so those of changes made before an ANALYZE
# may come in after it.
_COUNTERS = """
SELECT pg_stat_get_mod_since_analyze(%(oid)s),
       coalesce(now() - greatest(pg_stat_get_last_analyze_time(%(oid)s),
                                            pg_stat_get_last_autoanalyze_time(%(oid)s))
                > make_interval(secs => 60), true)
"""
# The view shows a row of a column only to those who may read the column of that very partition.
_KNOWN = """
SELECT NOT has_column_privilege(%(oid)s::oid, %(column)s::text, 'SELECT')
    OR EXISTS (SELECT FROM pg_stats s
               JOIN pg_class c ON c.relname = s.tablename
               JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
               WHERE c.oid = %(oid)s AND s.attname = %(column)s)
"""
_EXPECTED = "statistics of the table as it is"


def judge(look: Look) -> Outcome:
    """Judge each partition with many rows: nothing analyzes a partitioned table by itself."""
    look.must_see_all(look.table.vector, look.table.id)
    leaves = look.large_leaves()
    if not leaves:
        return passed(f"fewer than {LARGE:,} rows: the planner needs none", _EXPECTED)
    faults = [fault for leaf in leaves for fault in _faults(look, leaf)]
    if faults:
        return failed(_EXPECTED, "; ".join(faults), sql.SQL("ANALYZE {};").format(look.sql_name).as_string())
    return passed("fresh", _EXPECTED)


def _faults(look: Look, leaf: Leaf) -> Iterator[str]:
    if leaf.reltuples < 0:
        yield f"{leaf.name} was never analyzed (reltuples is -1)"
    if _lacks_statistics(look, leaf):
        yield f"nothing is known of {leaf.name}.{look.table.vector}"
    row = look.connection.execute(_COUNTERS, {"oid": leaf.oid}).fetchone()
    changed, counters_are_in = row or (0, False)
    if counters_are_in and changed > max(_STALE * leaf.reltuples, LARGE / 2):
        yield f"{changed:,} rows of {leaf.name} have changed since it was analyzed"


def _lacks_statistics(look: Look, leaf: Leaf) -> bool:
    if look.vector is None or not look.vector.wants_statistics:
        return False
    values = {"oid": leaf.oid, "column": look.table.vector}
    return look.connection.execute(_KNOWN, values).fetchone() == (False,)


CHECK = Check(
    "statistics",
    "the table was never analyzed, the vector column has no statistics, or much has changed since (not "
    "below 2,000 rows)",
    judge,
    after=("table",),
)
