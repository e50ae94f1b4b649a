""".fvecs and .bvecs, as TEXMEX publishes its data sets: each vector's dimensions as int32, then its floats or bytes."""

from __future__ import annotations

from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path
from typing import Any

import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Block, numbered, rows_in_block
from pgvector_seed.data.formats import Unit, units_of
from pgvector_seed.data.sources import opened

_ELEMENTS = {".fvecs": "<f4", ".bvecs": "u1"}
_DIMENSIONS_BYTES = 4


def columns(file: str) -> None:
    """Return None: the file has vectors alone."""
    del file


def units(file: str) -> list[Unit]:
    """Return parts of about 64 MB. Raises InputError if the file is empty or does not end with a row."""
    layout, size = _layout(file)
    if size % layout.itemsize:
        raise InputError(f"{file} is truncated: {size:,} bytes are not whole rows of {layout.itemsize:,} bytes")
    return units_of(file, size // layout.itemsize, layout.itemsize)


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the vectors. Raises InputError for a row of other dimensions than the first."""
    del vector
    layout, _ = _layout(unit.file)
    (dimensions,) = layout["value"].shape
    with opened(unit.file) as stream:
        stream.seek(unit.start * layout.itemsize)
        for start, stop in unit.ranges(rows_in_block(dimensions)):
            records = np.frombuffer(stream.read((stop - start) * layout.itemsize), layout)
            other = np.flatnonzero(records["dimensions"] != dimensions)
            if len(other):
                row = start + int(other[0])
                raise InputError(
                    f"{unit.file}, row {row + 1}: {records['dimensions'][other[0]]} dimensions, "
                    f"and {dimensions} in the first row"
                )
            yield Block(unit.file, numbered(start, start + len(records)), np.ascontiguousarray(records["value"]))


def _layout(file: str) -> tuple[np.dtype[Any], int]:
    """Return the dtype of a row, from the dimensions of the first one, and the size of the file in bytes."""
    with opened(file) as stream:
        dimensions = int.from_bytes(stream.read(_DIMENSIONS_BYTES), "little", signed=True)
        size = stream.seek(0, SEEK_END)
    elements = np.dtype(_ELEMENTS[Path(file).suffix.lower()])
    if not 0 < dimensions * elements.itemsize <= size:
        raise InputError(f"{file} is empty, truncated or no {Path(file).suffix}: {dimensions} dimensions")
    return np.dtype([("dimensions", "<i4"), ("value", elements, (dimensions,))]), size
