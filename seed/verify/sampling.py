"""Reading a whole table if the time allows it, and otherwise a part that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from psycopg import sql

from pgvector_seed.vectors.queries import sample_percentage

from .context import Look
from .deadline import OutOfTimeError

T = TypeVar("T")

PART_OF_TIME = 0.25


def whole_or_sampled(look: Look, blocks: int, work: Callable[[sql.Composable], T]) -> tuple[T, float, str]:
    """What ``work`` makes of the table, the part of it that was read in per cent, and what to say of that.

    ``work`` gets what to write behind the table's name. Each of the two tries gets a quarter of the time that is
    left; the sample is of about so many ``blocks``. Raises OutOfTimeError when neither is enough.
    """
    whole = look.clock.within(look.connection, PART_OF_TIME, lambda: work(sql.SQL("")))
    if whole is not None:
        return whole, 100.0, ""
    part = sample_percentage(look.bytes, blocks)
    sample = sql.SQL("TABLESAMPLE SYSTEM ({})").format(part)
    sampled = look.clock.within(look.connection, PART_OF_TIME, lambda: work(sample))
    if sampled is None:
        raise OutOfTimeError("not even a sample could be read in the time that was left")
    return sampled, part, f", by a sample of {part:.3g} % of the blocks"
