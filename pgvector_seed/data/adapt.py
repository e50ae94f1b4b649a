"""One vector in the server's binary format, by pgvector's own adapter."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from pgvector import Bit, HalfVector, SparseVector, Vector

from pgvector_seed.data.block import Array
from pgvector_seed.data.target import TargetColumn

_ADAPTERS: dict[str, Any] = {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector}
TYPES = (*_ADAPTERS, "bit")


def adapt(row: Array, type_: str) -> bytes:
    """Return numbers as a vector of the type. Raises ValueError if one cannot be in it."""
    if type_ == "bit":
        if not ((row == 0) | (row == 1)).all():
            raise ValueError("an element is neither 0 nor 1")
        return bytes(Bit(row.astype(bool)).to_binary())
    with np.errstate(over="ignore"):
        narrow = row.astype(np.float16 if type_ == "halfvec" else np.float32)
    if not np.isfinite(narrow).all():
        raise ValueError("it has NaN or infinity")
    return bytes(_ADAPTERS[type_](narrow).to_binary())


def adapt_text(text: str, type_: str) -> tuple[bytes, int]:
    """Return a vector in pgvector's text, {1:0.5}/3 or 0101, with its dimensions.

    Raises ValueError, TypeError, IndexError or OverflowError for another text.
    """
    if type_ == "sparsevec":
        vector = SparseVector.from_text(text)
        return bytes(vector.to_binary()), vector.dimensions()
    if type_ == "bit":
        return bytes(Bit.from_text(text).to_binary()), len(text)
    raise ValueError


def adapt_value(value: Any, column: TargetColumn) -> bytes:
    """Return numbers, their JSON, or pgvector's text for a column. Raises as ``adapt_text`` if they do not fit."""
    if isinstance(value, str) and column.type in ("sparsevec", "bit") and not value.startswith("["):
        dumped, size = adapt_text(value, column.type)
    else:
        row = np.asarray(msgspec.json.decode(value) if isinstance(value, str) else value)
        if row.ndim != 1 or row.dtype.kind not in "fiub":
            raise TypeError
        dumped, size = adapt(row, column.type), len(row)
    if column.modifier not in (-1, size):
        raise ValueError
    return dumped
