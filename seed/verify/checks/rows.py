"""rows: there are as many as declared, or more."""

from __future__ import annotations

import math

from psycopg import sql

from ..context import Look
from ..model import Check, Outcome, failed, not_declared, passed
from ..sampling import whole_or_sampled

_COUNT = "SELECT pg_catalog.count(*) FROM {} {}"
_BLOCKS = 10_000
_DEVIATIONS = 3


def judge(look: Look) -> Outcome:
    """Count them; where that takes too long, judge by a sample of the blocks, and only when it leaves no doubt."""
    declared = look.table.rows
    if declared is None:
        return not_declared("a number of rows")
    look.must_see_all()
    expected = f"at least {declared:,} rows"
    counted, part, words = whole_or_sampled(look, _BLOCKS, lambda sample: _count(look, sample))
    rows = counted * 100 / part
    # Blocks are drawn one by one, so the number of those drawn varies like its root.
    doubt = 0 if part == 100 else _DEVIATIONS * rows / math.sqrt(_BLOCKS)
    found = f"{'about ' if words else ''}{rows:,.0f} rows{words}"
    if rows + doubt >= declared:
        return passed(found, expected)
    return failed(expected, found, "Load the rest, by the job that fills the table.")


def _count(look: Look, sample: sql.Composable) -> int:
    return int(look.value(sql.SQL(_COUNT).format(look.sql_name, sample)))


CHECK = Check("rows", "there are fewer than declared", judge, after=("table",))
