"""Compare vectors with those that the server has sent, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from pgvector_seed.data.block import Array
from pgvector_seed.vectors.frames import ELEMENTS


class Comparison(NamedTuple):
    """The places of the rows whose keys exist. For each: if it fills a NULL, and if it differs."""

    places: Array
    fills: Array
    differs: Array


def compare_vectors(places: Array, stored: Sequence[bytes | None], type_: str, vectors: Array) -> Comparison:
    """Compare the ``stored`` vectors, in the server's binary format, with the vectors at ``places``."""
    is_whole = len(places) == len(vectors) and (places[1:] > places[:-1]).all()
    ours = _encoded(type_, vectors if is_whole else vectors[places])
    fills = np.array([value is None for value in stored], bool)
    has_size = np.array([value is not None and len(value) == ours.itemsize for value in stored], bool)
    data = b"".join(compress(stored, has_size))  # type: ignore[arg-type]  # of its size, so not None
    differs = ~fills
    differs[has_size] = np.frombuffer(data, ours.dtype) != (ours if has_size.all() else ours[has_size])
    return Comparison(places, fills, differs)


def _encoded(type_: str, vectors: Array) -> Array:
    """Return each vector in the server's binary format, as an opaque value that is compared by its bytes."""
    layout = np.dtype([("dimensions", ">i2"), ("unused", ">i2"), ("value", ELEMENTS[type_], (vectors.shape[1],))])
    records = np.zeros(len(vectors), layout)
    records["dimensions"] = vectors.shape[1]
    records["value"] = vectors
    return records.view(f"V{layout.itemsize}")
