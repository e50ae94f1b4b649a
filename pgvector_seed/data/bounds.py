"""Lower bounds of the distances that the server would compute, as products of two arrays of float32.

Each bound allows for the rounding here and in pgvector, which both sum float32. The rounding of a sum of n products is
at most n x ROUNDING of the sum of their absolute values.
Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), section 3.1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pgvector_seed.data.block import Array

ROUNDING = 2.0**-24  # relative, of one operation on float32
LARGEST, SMALLEST = 1e15, 1e-15  # lengths between which no square overflows or loses digits
_OWN_OPERATIONS = 16  # beside one for each dimension


class OutOfRangeError(Exception):
    """The vectors are too long or too short for float32."""


def lengths(vectors: Array) -> Array:
    """Return the Euclidean lengths. Raises OutOfRangeError if one is too large."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not (squares <= LARGEST**2).all():
        raise OutOfRangeError
    return np.asarray(np.sqrt(squares))


class Bounds(ABC):
    """The bounds for some queries. ``queries`` has a row for each query, ``rows`` returns one for each stored vector.

    The products of a query's row are in the order of its bounds. ``of_server`` makes a bound of a product.
    """

    queries: Array

    def __init__(self, queries: Array) -> None:
        self.error = (queries.shape[1] + _OWN_OPERATIONS) * ROUNDING

    @abstractmethod
    def rows(self, vectors: Array) -> Array:
        """Return the rows of the products for stored vectors. Raises OutOfRangeError."""

    @abstractmethod
    def of_server(self, products: Array) -> Array:
        """Return the least distances that the server can give for products, one for each query."""


class L2Bounds(Bounds):
    """Bounds of the squared Euclidean distance. A ``center`` is subtracted: far from 0, digits would cancel out."""

    def __init__(self, queries: Array, center: Array) -> None:
        super().__init__(queries)
        self.center = center
        near = queries - center
        squares = lengths(near).astype(np.float64) ** 2
        self.base = squares * (1 - 2 * self.error)
        self.queries = np.column_stack([-2 * near, np.ones(len(queries), np.float32)])

    def rows(self, vectors: Array) -> Array:
        """Return the vectors with a column for their squared lengths."""
        near = vectors - self.center
        squares = lengths(near) ** 2 * np.float32(1 - 4 * self.error)
        return np.column_stack([near, squares])

    def of_server(self, products: Array) -> Array:
        """Return distances, not squared."""
        return np.asarray(np.sqrt(np.maximum((products + self.base) * (1 - self.error), 0)))


class InnerProductBounds(Bounds):
    """Bounds of the negative inner product, for queries of length 1."""

    def __init__(self, queries: Array) -> None:
        super().__init__(queries)
        sizes = lengths(queries)
        self.sizes = sizes.astype(np.float64)
        unit = queries / np.where(sizes > 0, sizes, 1)[:, None]
        self.queries = np.column_stack([-unit, np.ones(len(queries), np.float32)])

    def rows(self, vectors: Array) -> Array:
        """Return the vectors with a column for their errors."""
        return np.column_stack([vectors, lengths(vectors) * np.float32(-4 * self.error)])

    def of_server(self, products: Array) -> Array:
        """Return the bounds for the queries' own lengths."""
        return np.asarray(products * self.sizes)


class CosineBounds(Bounds):
    """Bounds of the cosine distance less 1."""

    def __init__(self, queries: Array) -> None:
        super().__init__(queries)
        self.queries = -_units(queries)

    def rows(self, vectors: Array) -> Array:
        """Return the vectors with the length 1."""
        return _units(vectors)

    def of_server(self, products: Array) -> Array:
        """Return the bounds: no distance of the server is below 0."""
        return np.asarray(np.maximum(products + (1 - 6 * self.error), 0))


def _units(vectors: Array) -> Array:
    sizes = lengths(vectors)
    if (sizes < SMALLEST).any():
        raise OutOfRangeError
    return np.asarray(vectors / sizes[:, None])


def bounds_for(metric: str, queries: Array, stored: Array) -> Bounds:
    """Return the bounds for a metric: l2, ip or cosine. ``stored`` is a block of the table. Raises OutOfRangeError."""
    if metric == "l2":
        return L2Bounds(queries, stored.mean(axis=0, dtype=np.float64).astype(np.float32))
    return InnerProductBounds(queries) if metric == "ip" else CosineBounds(queries)
