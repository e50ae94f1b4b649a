"""Query vectors in a file: a .npy array, or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import os_error
from pgvector_seed.data.formats import COMPRESSED, STDIN, npy
from pgvector_seed.data.formats.lines import read_lines
from pgvector_seed.data.query_vector import QueryVector, query_vector
from pgvector_seed.data.search import Search

VECTOR = "vector"  # the key in an object of JSON Lines, unless it has the name of the searched column
_LINES = (".jsonl", ".ndjson")
_EXAMPLE = 'Such as: {"vector": [0.3, 0.1, 0.6, 0.5]}'
_DECODER = msgspec.json.Decoder(dict[str, Any] | list[Any])


def read_questions(file: str, search: Search) -> Iterator[QueryVector]:
    """Yield the query vectors of a file in their order. Empty lines are left out; - is standard input, as JSON Lines.

    Raises InputError for a file that cannot be read, and with its row or line for a vector that is bad for the search.
    """
    try:
        for place, vector in _read(file, search.target.vector.name):
            try:
                with np.errstate(over="ignore"):  # a number that is too large is infinite, which is an error
                    question = query_vector(search.target.vector, search.column.metric, vector())
            except InputError as error:
                raise InputError(f"{file}, {place}: {error.message}", error.remedy) from error
            yield question
    except OSError as error:
        raise InputError(os_error(error)) from error


def _read(file: str, column: str) -> Iterator[tuple[str, Any]]:
    """Yield the place of each vector, and a function that returns the vector."""
    path = Path(file)
    suffix = Path(path.stem).suffix if path.suffix.lower() in COMPRESSED else path.suffix
    if file == STDIN or suffix.lower() in _LINES:
        for number, line in enumerate(read_lines(file), start=1):
            if line.strip():
                yield f"line {number}", lambda line=line: _vector(line, column)
    elif suffix.lower() == ".npy":
        for unit in npy.units(file):
            for block in npy.read(unit, VECTOR):
                for number, row in zip(block.numbers, block.vectors, strict=True):
                    yield f"row {number}", lambda row=row: row
    else:
        raise InputError(f"{file} has a name of no known format", "The formats: .npy, .jsonl; - reads JSON Lines")


def _vector(line: bytes, column: str) -> Any:
    """Return the vector in a line of JSON: a list, or an object with one."""
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise InputError(f"it is neither a JSON object nor a list: {error}", _EXAMPLE) from error
    if isinstance(value, list):
        return value
    for name in (column, VECTOR):
        if isinstance(value.get(name), list | str):
            return value[name]
    raise InputError(f"the object has no list of the name {VECTOR} or {column}", _EXAMPLE)
