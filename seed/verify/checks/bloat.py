"""The check bloat: the table has fewer dead rows than live ones, or only few."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.common.text import counted

from ..context import Context
from ..model import Check, Outcome, failed, passed
from ..replica import is_standby

# A crash resets the counters, and a copied database has none: reltuples stands in for them. A session reports its
# counts up to a minute late, so those of rows that a VACUUM removed may arrive after it.
_COUNTERS = """
SELECT coalesce(sum(pg_stat_get_dead_tuples(c.oid)) FILTER (
         WHERE coalesce(now() - greatest(pg_stat_get_last_vacuum_time(c.oid),
                                                    pg_stat_get_last_autovacuum_time(c.oid))
                        > make_interval(secs => 60), true)), 0)::int8,
       coalesce(sum(greatest(pg_stat_get_live_tuples(c.oid), c.reltuples)), 0)::int8
FROM pg_class c WHERE c.oid = ANY (%s)
"""
# Autovacuum begins at 50 dead rows and a fifth of the table, so a small table may well have more dead rows than live.
_FEW = 1000
_EXPECTED = f"fewer dead rows than live ones, or than {_FEW:,}"


def run(context: Context) -> Outcome:
    """Compare the server's counters of dead and live rows, summed over the partitions."""
    if is_standby(context.connection):  # its counters, if any, are of a time when it was the primary
        return passed("a standby does not count dead rows: check on the primary", _EXPECTED)
    row = context.connection.execute(_COUNTERS, ([leaf.oid for leaf in context.leaves],)).fetchone()
    dead, live = row or (0, 0)
    actual = f"{counted(dead, 'dead row')} beside {counted(live, 'live one')}"
    if dead > max(live, _FEW):
        return failed(_EXPECTED, actual, sql.SQL("VACUUM (ANALYZE) {};").format(context.sql_name).as_string())
    return passed(actual, _EXPECTED)


CHECK = Check(
    "bloat",
    f"the table has more dead rows than live ones, and more than {_FEW:,}, by the server's counters",
    run,
    after=("table",),
)
