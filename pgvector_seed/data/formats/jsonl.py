"""JSON Lines: an object in each line, whose vector is a list of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from pgvector_seed.data.block import Block
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.formats.lines import RowsReader, read_lines

REJECTED = "rejected"  # the key in a file of --rejects that has a row's file, number and reason
_DECODER = msgspec.json.Decoder(dict[str, Any])


def columns(file: str) -> list[str]:
    """Return the names in the first line that is an object. A later line may have others."""
    for line in islice((line for line in read_lines(file, peek=True) if line.strip()), 1):
        try:
            return [name for name in _DECODER.decode(line) if name != REJECTED]
        except (ValueError, RecursionError):
            break  # read tells the row
    return []


def units(file: str) -> list[Unit]:
    """Return the whole file: only reading tells where a row begins."""
    return [Unit(file)]


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the rows; empty lines count as rows and are left out. A line that cannot be read is a fault."""
    reader = RowsReader(unit.file, vector, json_values=True)
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
            reader.add(number, values.pop(vector, None), values, len(line))
        if reader.is_full:
            yield reader.block()
    yield reader.block()
