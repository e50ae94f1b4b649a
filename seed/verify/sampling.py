"""Scan a whole table if the time suffices, otherwise a sample of its blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from psycopg import sql

from pgvector_seed.vectors.queries import sample_percentage

from .context import Context
from .deadline import OutOfTimeError

T = TypeVar("T")

SHARE_OF_TIME = 0.25  # of the time left, for each of the two tries


def scan_or_sample(context: Context, blocks: int, scan: Callable[[sql.Composable], T]) -> tuple[T, float, str]:
    """Return the result of ``scan``, the percentage of the table's blocks that it read, and a note on the sample.

    ``scan`` gets the TABLESAMPLE clause to put after the table's name: empty, then if that takes too long, one of
    about ``blocks`` blocks. The note is empty for the whole table. Raises OutOfTimeError if the sample takes too long.
    """
    result = context.deadline.within(context.connection, SHARE_OF_TIME, lambda: scan(sql.SQL("")))
    if result is not None:
        return result, 100.0, ""
    percent = sample_percentage(context.size_in_bytes, blocks)
    sample = sql.SQL("TABLESAMPLE SYSTEM ({})").format(percent)
    result = context.deadline.within(context.connection, SHARE_OF_TIME, lambda: scan(sample))
    if result is None:
        raise OutOfTimeError("the time left was too short to read even a sample")
    return result, percent, f", by a sample of {percent:.3g} % of the blocks"
