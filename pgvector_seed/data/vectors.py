"""A block's vectors in the type of their column, with the checks that the server would make, or could not."""

from __future__ import annotations

import numpy as np

from pgvector_seed.data.adapt import adapt, adapt_text
from pgvector_seed.data.block import Array
from pgvector_seed.data.target import Target
from pgvector_seed.data.values import Faults, Fixed, Varying

_ELEMENTS = {"vector": np.float32, "halfvec": np.float16}


def dump_vectors(vectors: Array | list[str], target: Target) -> tuple[Fixed | Varying, Faults]:
    """Return the vectors for the target's column, and the reason for each row that cannot be stored or found there."""
    if isinstance(vectors, list):
        return _from_texts(vectors, target)
    count, size = vectors.shape
    faults: Faults = {}
    if target.dimensions not in (None, size):
        faults = dict.fromkeys(range(count), f"{size} dimensions, and the column has {target.dimensions}")
        size = target.dimensions or size
        vectors = np.zeros((count, size), np.float32)
    if target.vector.type in _ELEMENTS:
        elements = _elements(vectors, target, faults)
        return (target.vector.type, elements), faults
    return _adapted(vectors, target, faults), faults


def _elements(vectors: Array, target: Target, faults: Faults) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        elements = vectors.astype(_ELEMENTS[target.vector.type], copy=False)
        # One NaN or infinity makes the sum of a block one; a sum that overflows is only looked at more closely.
        is_finite = np.isfinite(elements.sum(dtype=np.float64))
    if not is_finite:
        for place in np.flatnonzero(~np.isfinite(elements).all(axis=1)).tolist():
            was_finite = np.isfinite(vectors[place].astype(np.float64)).all()
            words = f"a number is beyond the range of {target.vector.type}" if was_finite else "it has NaN or infinity"
            faults.setdefault(place, words)
    _refuse_zeros(elements, target, faults)
    return elements


def _refuse_zeros(vectors: Array, target: Target, faults: Faults) -> None:
    if target.metric == "cosine":
        for place in np.flatnonzero(~vectors.any(axis=1)).tolist():
            faults.setdefault(place, "it is zero, which no index finds by its cosine")


def _adapted(vectors: Array, target: Target, faults: Faults) -> Varying:
    """Return the vectors by pgvector's own adapter: bits, or a sparse vector from a dense one."""
    dumped: Varying = []
    for place, row in enumerate(vectors):
        try:
            dumped.append(adapt(row, target.vector.type))
        except ValueError as error:
            faults.setdefault(place, str(error))
            dumped.append(None)
    if target.vector.type == "sparsevec":
        _refuse_zeros(vectors, target, faults)
    return dumped


def _from_texts(texts: list[str], target: Target) -> tuple[Varying, Faults]:
    """Return the vectors in pgvector's texts, {1:0.5}/3 or 0101."""
    dumped: Varying = []
    faults: Faults = {}
    for place, text in enumerate(texts):
        try:
            vector, size = adapt_text(text, target.vector.type)
        except (ValueError, TypeError, IndexError, OverflowError):
            faults[place] = f"the vector is no {target.vector.type}: {text[:60]!r}"
            dumped.append(None)
            continue
        if target.dimensions not in (None, size):
            faults[place] = f"{size} dimensions, and the column has {target.dimensions}"
        dumped.append(vector)
    return dumped, faults
