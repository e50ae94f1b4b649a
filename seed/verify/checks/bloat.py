"""bloat: the rows that are there outweigh those that are gone."""

from __future__ import annotations

from psycopg import sql

from ..context import LARGE, Look
from ..model import Check, Outcome, failed, passed

# The counters are lost in a crash, and a copy of a database has none: the rows that ANALYZE saw stand in for them.
# And a session tells its counts up to a minute late: those of rows that a VACUUM has removed may come in after it.
_COUNTERS = """
SELECT coalesce(sum(pg_stat_get_dead_tuples(c.oid)) FILTER (
         WHERE coalesce(now() - greatest(pg_stat_get_last_vacuum_time(c.oid),
                                                    pg_stat_get_last_autovacuum_time(c.oid))
                        > make_interval(secs => 60), true)), 0)::int8,
       coalesce(sum(greatest(pg_stat_get_live_tuples(c.oid), c.reltuples)), 0)::int8
FROM pg_class c WHERE c.oid = ANY (%s)
"""
_EXPECTED = "fewer dead rows than live ones"


def judge(look: Look) -> Outcome:
    """Judge by the server's counters, where it has them."""
    row = look.connection.execute(_COUNTERS, ([leaf.oid for leaf in look.leaves],)).fetchone()
    dead, live = row or (0, 0)
    found = f"{dead:,} dead rows beside {live:,} live ones"
    if dead > max(live, LARGE / 2):
        return failed(_EXPECTED, found, sql.SQL("VACUUM (ANALYZE) {};").format(look.sql_name).as_string())
    return passed(found, _EXPECTED)


CHECK = Check("bloat", "dead rows outweigh live ones, by the server's counters", judge, after=("table",))
