"""JSON Lines: an object in each line, whose vector is a list of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from pgvector_seed.data.block import Block
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.formats.lines import RowsReader, read_lines

REJECTED = "rejected"  # the key in a file of --rejects that has a row's file, number and reason
_SEARCHED_LINES = 100  # for the names
_DECODER = msgspec.json.Decoder(dict[str, Any])


def columns(file: str) -> list[str]:
    """Return the names in the first line that is an object with names, or none if none of the first lines is one."""
    for line in islice(read_lines(file, peek=True), _SEARCHED_LINES):
        with suppress(ValueError, RecursionError):  # also for an empty line; read tells the row
            names = [name for name in _DECODER.decode(line) if name != REJECTED]
            if names:
                return names
    return []


def units(file: str) -> list[Unit]:
    """Return the whole file: only reading tells where a row begins."""
    return [Unit(file)]


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the rows; empty lines count as rows and are left out.

    A line that cannot be read, or has a name that the first one lacks, is a fault.
    """
    reader = RowsReader(unit.file, vector, json_values=True)
    names: set[str] = set()
    for number, line in enumerate(read_lines(unit.file), start=1):
        if not line.strip():
            continue
        try:
            values = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:  # also text that is not UTF-8
            text = line.decode(errors="replace").strip()
            reader.fault(number, f"it is not a JSON object: {error}", {REJECTED: text})
        else:
            values.pop(REJECTED, None)
            if values:
                names = names or {*values, vector}
            if values.keys() <= names:
                reader.add(number, values.pop(vector, None), values, len(line))
            else:
                unknown = next(name for name in values if name not in names)
                reader.fault(number, f"it has {unknown}, which the first line lacks", values)
        if reader.is_full:
            yield reader.block()
    yield reader.block()
