"""A block: some rows of a file, as every format yields them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WHOLE_BYTES = 16 << 20  # of all columns together
BLOCK_BYTES = 4 << 20  # of vectors: larger blocks are slower with 1,536 dimensions, smaller ones commit too often


@dataclass(frozen=True)
class RowFault:
    """A bad row. ``row`` counts from 1 in its file; ``values`` are the row's as far as they could be read."""

    file: str
    row: int
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Rows of a file. ``numbers`` counts them from 1 in the file, in ascending order.

    ``vectors`` is an array of rows x dimensions; for sparsevec and bit it may be a list of pgvector's texts.
    ``columns`` maps the names of the file's other columns to a value for each row. In JSON Lines a text in a column of
    JSON is a JSON string (``json_values``); elsewhere it is JSON text. ``faults`` are rows that could not be read.
    """

    file: str
    numbers: Array
    vectors: Array | list[str]
    columns: Mapping[str, Sequence[Any] | Array] = field(default_factory=dict)
    json_values: bool = False
    faults: Sequence[RowFault] = ()

    def __len__(self) -> int:
        return len(self.numbers)


def rows_in_block(dimensions: int) -> int:
    """Return how many vectors of that many dimensions, of 4 bytes each, make a block."""
    return max(1, BLOCK_BYTES // max(1, dimensions * 4))


def numbered(start: int, stop: int) -> Array:
    """Return the numbers, from 1, of the rows ``start`` to ``stop``, which count from 0."""
    return np.arange(start + 1, stop + 1, dtype=np.int64)
