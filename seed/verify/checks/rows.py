"""The check rows: the table has at least the declared number of rows."""

from __future__ import annotations

import math

from psycopg import sql

from pgvector_seed.common.text import counted

from ..context import Context
from ..model import Check, Outcome, failed, not_declared, passed
from ..sampling import scan_or_sample

_COUNT = "SELECT count(*) FROM {} {}"
_BLOCKS = 10_000  # of a sample
_MOST_ROWS = 291  # in a block of 8 kB
_DEVIATIONS = 4


def run(context: Context) -> Outcome:
    """Count the rows; if that takes too long, count a sample, and fail only if the table is certainly short."""
    declared = context.declared.rows
    if declared is None:
        return not_declared("a number of rows")
    context.require_all_rows()
    expected = f"at least {counted(declared, 'row')}"
    number, percent, note = scan_or_sample(context, _BLOCKS, lambda sample: _count(context, sample))
    actual = f"{'about ' if note else ''}{counted(round(number * 100 / percent), 'row')}{note}"
    if is_short(declared, number, percent):
        return failed(expected, actual, "Run the job that fills the table again.")
    return passed(actual, expected)


def is_short(declared: int, counted: int, percent: float) -> bool:
    """Return True if ``counted`` rows in a sample of the blocks show that a table has fewer rows than declared.

    ``percent`` is the chance of each block to be in the sample. The bound is 4 standard deviations below the mean of
    a table that has the declared rows, however they are spread over the blocks.
    """
    share = percent / 100
    deviation = math.sqrt((1 - share) * share * declared * _MOST_ROWS)
    return counted < share * declared - _DEVIATIONS * deviation


def _count(context: Context, sample: sql.Composable) -> int:
    return int(context.fetch_value(sql.SQL(_COUNT).format(context.sql_name, sample)))


CHECK = Check("rows", "the table has fewer rows than declared", run, after=("table",))
