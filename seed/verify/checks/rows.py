"""rows: there are as many as declared, or more."""

from __future__ import annotations

import math

from psycopg import sql

from search.sample import percentage
from seed.verify.check import Check
from seed.verify.look import Look, OutOfTimeError
from seed.verify.outcome import Outcome, failed, not_declared, passed

_COUNT = "SELECT pg_catalog.count(*) FROM {}"
_SAMPLED = "SELECT pg_catalog.count(*) FROM {} TABLESAMPLE SYSTEM ({})"
_PART_OF_TIME = 0.25
_BLOCKS = 10_000
_DEVIATIONS = 3


def judge(look: Look) -> Outcome:
    """Count them; where that takes too long, judge by a sample of the blocks, and only when it leaves no doubt."""
    declared = look.table.rows
    if declared is None:
        return not_declared("a number of rows")
    look.must_see_all()
    expected = f"at least {declared:,} rows"
    counted = look.within(_PART_OF_TIME, lambda: look.value(sql.SQL(_COUNT).format(look.sql_name)))
    if isinstance(counted, int):
        rows, found = float(counted), f"{counted:,} rows"
    else:
        rows, found = _estimate(look)
    if rows >= declared:
        return passed(found, expected)
    return failed(expected, found, "Load the rest, by the job that fills the table.")


def _estimate(look: Look) -> tuple[float, str]:
    """The most rows that the sample makes likely, and what to say of it.

    Blocks are drawn one by one, so the number of those drawn varies like the root of it.
    """
    part = percentage(look.bytes, _BLOCKS)
    statement = sql.SQL(_SAMPLED).format(look.sql_name, sql.Literal(part))
    counted = look.within(_PART_OF_TIME, lambda: look.value(statement))
    if not isinstance(counted, int):
        raise OutOfTimeError("not even a sample could be counted in the time that was left")
    estimate = counted * 100 / part
    doubt = 0 if part == 100 else _DEVIATIONS * estimate / math.sqrt(_BLOCKS)
    return estimate + doubt, f"about {estimate:,.0f} rows, by a sample of {part:.3g} % of the blocks"


CHECK = Check("rows", "there are fewer than declared", judge, after=("table",))
