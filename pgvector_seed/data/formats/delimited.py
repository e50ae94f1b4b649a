"""CSV with a line of names: a vector is [0.1, ...], and an empty cell is NULL."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

import msgspec

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Block
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.formats.jsonl import REJECTED
from pgvector_seed.data.formats.lines import LONGEST_LINE, RowsReader, read_lines

_VECTOR = msgspec.json.Decoder(list[float])


def columns(file: str) -> list[str]:
    """Return the names in the first line. Raises InputError if there is none, or a name is there twice."""
    return next(_records(file, peek=True))[1]


def units(file: str) -> list[Unit]:
    """Return the whole file: only reading tells where a row begins, as a quoted cell may have line ends."""
    return [Unit(file)]


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the rows. A row with another number of cells than the first line is a fault."""
    records = _records(unit.file)
    _, names = next(records)
    reader = RowsReader(unit.file, vector, json_values=False)
    for row, cells in records:
        values: dict[str, Any] = {name: cell or None for name, cell in zip(names, cells, strict=False)}
        text, reason = values.get(vector), ""
        try:
            values[vector] = _VECTOR.decode(text) if text and text.lstrip().startswith("[") else text
        except ValueError as error:
            reason = f"the vector is not a list of numbers: {error}"
        if len(cells) != len(names):
            reason = f"{len(cells)} cells, and {len(names)} names in the first line"
            values[REJECTED] = ",".join(cells)
        if reason:
            reader.fault(row, reason, values)
        else:
            reader.add(row, values.pop(vector), values, sum(map(len, cells)))
        if reader.is_full:
            yield reader.block()
    yield reader.block()


def _records(file: str, *, peek: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the names as row 0, then the rows, numbered from 1."""
    csv.field_size_limit(LONGEST_LINE)
    records = csv.reader(_text(file, peek=peek), strict=True)
    number = 0
    try:
        for cells in records:
            if not cells:
                continue
            if not number and len(set(cells)) < len(cells):
                raise InputError(f"{file}: a name is in its first line twice: {', '.join(cells)}")
            yield number, cells
            number += 1
    except csv.Error as error:
        raise InputError(f"{file}, row {number} (line {records.line_num}): it is not CSV: {error}") from error
    if not number:
        raise InputError(f"{file} is empty", "Its first line must have the names of the columns.")


def _text(file: str, *, peek: bool) -> Iterator[str]:
    for number, line in enumerate(read_lines(file, peek=peek), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{file}, line {number}: it is not UTF-8: {error}") from error
