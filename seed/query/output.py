"""The output of a query: a table that fits the terminal, or JSON."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted, printable
from pgvector_seed.data.answer import Answer, Neighbor
from pgvector_seed.data.search import Search
from pgvector_seed.vectors.index_use import IndexUse

from .values import cell, encoded, is_number

GAP = "  "
NARROWEST = 8  # a column is cut to no less
_WIDEST_KEY = 40  # of a column of the key: a UUID and the distance leave room for others
_CUT = "..."
_BEYOND_ASCII = re.compile(r"[^ -~\n]")
Row = Sequence[Any]


def as_table(search: Search, answer: Answer, width: int | None) -> list[str]:
    """Return the answer as lines of at most ``width`` columns, or of any if it is None."""
    if not answer.neighbors:
        return [f"No row found in {printable(search.target.shown)}."]
    names = [*search.target.key, f"{search.column.metric} distance", *search.columns]
    rows = [_row(search, neighbor) for neighbor in answer.neighbors]
    return _table(names, rows, width, distance=len(search.target.key))


def _row(search: Search, neighbor: Neighbor) -> Row:
    key: tuple[Any, ...] = neighbor.id if len(search.target.key) > 1 else (neighbor.id,)
    return *(key if search.target.key else ()), _distance(neighbor.distance), *neighbor.columns.values()


def _distance(distance: float | str) -> str:
    """Return a distance with six digits after the point, unless it is too small or too large for them."""
    if isinstance(distance, str):
        return distance
    return f"{distance:.6f}" if distance == 0 or 1e-4 <= abs(distance) < 1e6 else f"{distance:.6g}"


def _table(names: Sequence[str], rows: Sequence[Row], width: int | None, distance: int) -> list[str]:
    """Return the lines of a table. ``distance`` is the place of the distance, which is a number in words."""
    heads = [printable(name) for name in names]
    cells = [[printable(cell(value)) for value in row] for row in rows]
    right = [all(value is None or is_number(value) for value in column) for column in zip(*rows, strict=True)]
    right[distance] = True
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    left_out: list[str] = []
    if width is not None:
        widths = _fitted(widths, width, fixed=distance + 1)
        left_out = heads[len(widths) :]
    lines = [_line(line, widths, right) for line in (heads, *cells)]
    lines.insert(1, GAP.join("-" * size for size in widths))
    if left_out:
        words = f"{counted(len(left_out), 'column')} left out; choose with --columns: {', '.join(left_out)}"
        lines.append(_cut(words, width or 0))
    return lines


def _fitted(widths: list[int], width: int, fixed: int) -> list[int]:
    """Return smaller widths that fit: the widest columns are cut, and the last are left out if that is not enough.

    The ``fixed`` first ones, of the key and the distance, are kept, and cut only to _WIDEST_KEY.
    """
    first = [min(size, _WIDEST_KEY) for size in widths[:fixed]]
    others = widths[fixed:]
    room = width - sum(first) - len(GAP) * (fixed - 1)
    while others and sum(min(size, NARROWEST) + len(GAP) for size in others) > room:
        others.pop()
    limit = max(others, default=0)
    while sum(min(size, limit) + len(GAP) for size in others) > room:
        limit -= 1
    return [*first, *(min(size, limit) for size in others)]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = [
        _padded(_cut(text, size), size, right=at_right)
        for text, size, at_right in zip(cells, widths, right, strict=False)
    ]
    return GAP.join(parts).rstrip()


def _padded(text: str, size: int, *, right: bool) -> str:
    spaces = " " * (size - _width(text))
    return spaces + text if right else text + spaces


def _cut(text: str, size: int) -> str:
    if _width(text) <= size:
        return text
    kept = ""
    for char in text:
        if _width(kept + char) > size - len(_CUT):
            break
        kept += char
    return kept + _CUT


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes: two for each wide character of East Asia."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def plan_as_text(use: IndexUse) -> str:
    """Return the judgement of the plan as one line."""
    if use.indexes:
        return f"plan: served by the index {', '.join(map(printable, use.indexes))}"
    return f"plan: no vector index: {printable(use.explained(sources=True))}"


def as_data(search: Search, answer: Answer, use: IndexUse | None = None) -> dict[str, Any]:
    """Return the answer, and the judgement of its plan if there is one."""
    document: dict[str, Any] = {
        "right": True,
        "table": search.target.shown,
        "metric": search.column.metric,
        "exact": answer.exact,
        "note": answer.note,
        "answers": [neighbor._asdict() for neighbor in answer.neighbors],
    }
    if use is not None:
        settings = [{"name": item.name, "value": item.value, "source": item.source} for item in use.settings]
        document["plan"] = {
            "indexes": use.indexes,
            "cause": use.cause,
            "reason": use.explained() or None,
            "settings": settings,
        }
    return document


def as_json(document: dict[str, Any], indent: int) -> str:
    """Return a document as JSON; in one line if ``indent`` is -1. Characters that a terminal may obey are escaped.

    Raises InputError for values that are nested too deeply.
    """
    try:
        text = msgspec.json.format(encoded(document), indent=indent).decode()
    except RecursionError as error:
        raise InputError("a value of JSON is nested too deeply", "Leave its column out: --columns NAME,...") from error
    return _BEYOND_ASCII.sub(lambda match: _escaped(match[0]), text)


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
