"""The answer of a search: the nearest rows, and how they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.data.asking import Batch, Rows, Work
from pgvector_seed.data.query_vector import query_vector
from pgvector_seed.data.search import Search
from pgvector_seed.vectors.exact import EXACT_SETTINGS


class Neighbor(NamedTuple):
    """A row near the query. ``id`` is its primary key, a tuple if that has several columns, None without one.

    ``columns`` maps the other columns to their values.
    """

    id: Any
    distance: float
    columns: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The neighbors, nearest first.

    ``exact`` is True if all rows were searched. ``note`` says why, or that rows may be missing.
    """

    neighbors: list[Neighbor]
    exact: bool = False
    note: str | None = None


def parameters_of(search: Search, vector: Any, k: int, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Return the parameters of a search's statements. Raises InputError for a bad vector or k."""
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    return *values, query_vector(search.target.vector, search.column.metric, vector), k


def answering(search: Search, parameters: tuple[Any, ...], *, fallback: bool = False) -> Work[Answer]:
    """Return the work that answers one query as the planner would, by an index if it sees one.

    With ``fallback``, a search that finds fewer than k rows is followed by an exact one.
    """
    rows = yield Batch(search.settings.statement, search.statement, parameters, search.path)
    assert rows is not None
    if len(rows) >= parameters[-1] or not fallback:
        return Answer(neighbors(search, rows))
    return (yield from answering_exactly(search, parameters, rows))


def answering_exactly(search: Search, parameters: tuple[Any, ...], rows: Rows | None = None) -> Work[Answer]:
    """Return the work that searches all rows, for EXACT_SECONDS at most. ``rows`` are the too few rows of an index."""
    all_rows = yield Batch(EXACT_SETTINGS, search.exact_statement, parameters, search.path, may_time_out=True)
    return _exact_answer(search, parameters[-1], rows, all_rows)


def _exact_answer(search: Search, k: int, rows: Rows | None, all_rows: Rows | None) -> Answer:
    """Return the answer of an exact search, which may have followed another one, and may have timed out."""
    if all_rows is None:
        fewer = "there is no answer" if rows is None else f"the index gave {counted(len(rows), 'row')} of {k:,}"
        return Answer(neighbors(search, rows or []), note=f"the exact search was stopped by a time limit: {fewer}")
    note = None
    if rows is not None and len(all_rows) > len(rows):
        note = f"the index gave {counted(len(rows), 'row')} of {k:,}, so all rows were searched"
    return Answer(neighbors(search, all_rows), exact=True, note=note)


def neighbors(search: Search, rows: Rows) -> list[Neighbor]:
    """Return the rows of a search as neighbors."""
    names, width = search.columns, len(search.target.key)
    if width == 1:
        return [Neighbor(row[1], row[0], dict(zip(names, row[2:], strict=True))) for row in rows]
    return [
        Neighbor(row[1 : 1 + width] or None, row[0], dict(zip(names, row[1 + width :], strict=True))) for row in rows
    ]
