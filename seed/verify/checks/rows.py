"""rows: there are as many as declared, or more."""

from __future__ import annotations

import math

from psycopg import sql

from ..context import Look
from ..model import Check, Outcome, failed, not_declared, passed
from ..sampling import whole_or_sampled

_COUNT = "SELECT count(*) FROM {} {}"
_BLOCKS = 10_000
_MOST_ROWS = 291  # that a block of 8 kB can hold
_DEVIATIONS = 4


def judge(look: Look) -> Outcome:
    """Count them; where that takes too long, judge by a sample of the blocks, and only when it leaves no doubt."""
    declared = look.table.rows
    if declared is None:
        return not_declared("a number of rows")
    look.must_see_all()
    expected = f"at least {declared:,} rows"
    counted, part, words = whole_or_sampled(look, _BLOCKS, lambda sample: _count(look, sample))
    found = f"{'about ' if words else ''}{counted * 100 / part:,.0f} rows{words}"
    if is_short(declared, counted, part):
        return failed(expected, found, "Load the rest, by the job that fills the table.")
    return passed(found, expected)


def is_short(declared: int, counted: int, part: float) -> bool:
    """Return True if a table certainly has fewer rows than declared, by those in a sample of its blocks.

    ``part`` is the chance of each block to be in it, in per cent. The bound is for a table that has what is declared,
    whichever of its blocks hold the rows: what the sample tells of them is wrong when it is unlucky.
    """
    share = part / 100
    deviation = math.sqrt((1 - share) * share * declared * _MOST_ROWS)
    return counted < share * declared - _DEVIATIONS * deviation


def _count(look: Look, sample: sql.Composable) -> int:
    return int(look.value(sql.SQL(_COUNT).format(look.sql_name, sample)))


CHECK = Check("rows", "there are fewer than declared", judge, after=("table",))
