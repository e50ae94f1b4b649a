"""The rows that can be among the nearest of many queries, found by numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pgvector_seed.data.all_vectors import StoredVectors
from pgvector_seed.data.block import Array
from pgvector_seed.data.bounds import Bounds, bounds_for

PRODUCTS = 4 << 20  # computed at once
VECTOR_BYTES = 32 << 20  # of the stored vectors in memory at once
_FEW = 4  # x ``count`` rows of a block for each query: up to that many, a sort is faster than a partition

Row = tuple[int, int, int]  # the oid of its table, and its ctid


def rows_at_once(queries: int, dimensions: int) -> int:
    """Return how many stored vectors make a block."""
    return max(64, min(PRODUCTS // queries, VECTOR_BYTES // (4 * dimensions)))


class Candidates:
    """The ``count`` rows with the smallest bounds for each of the ``queries``.

    A new row counts only if its bound is below the query's largest. Few are after the first blocks, and a comparison
    reads each bound once, but a partition several times.
    """

    def __init__(self, metric: str, queries: Array, count: int) -> None:
        self.metric = metric
        self.queries = queries
        self.count = count
        self.products = np.full((len(queries), count), np.inf, np.float32)  # sorted
        self.rows = np.zeros((len(queries), count), [("table", "u4"), ("block", "u4"), ("place", "u2")])
        self.bounds: Bounds | None = None

    def add(self, stored: StoredVectors) -> None:
        """Add rows. Raises OutOfRangeError if their vectors are too long or too short."""
        if self.metric == "cosine":  # a zero vector has no direction, and so no distance
            stored = StoredVectors(*(values[stored.vectors.any(axis=1)] for values in stored))
        if not len(stored.vectors):
            return
        if self.bounds is None:
            self.bounds = bounds_for(self.metric, self.queries, stored.vectors)
        products = self.bounds.queries @ self.bounds.rows(stored.vectors).T
        queries, places = self._survivors(products)
        rows = np.empty(len(places), self.rows.dtype)
        rows["table"], rows["block"], rows["place"] = (values[places] for values in stored[:3])
        self._merge(queries, products[queries, places], rows)

    def _survivors(self, products: Array) -> tuple[Array, Array]:
        """Return the pairs of a query and a row that may be among the smallest."""
        is_near = products < self.products[:, -1:]
        if np.count_nonzero(is_near) <= _FEW * self.count * len(products):
            return np.divmod(np.flatnonzero(is_near), products.shape[1])  # several times as fast as nonzero in 2-D
        kept = min(self.count, products.shape[1])
        places = np.argpartition(products, kept - 1, axis=1)[:, :kept]
        return np.repeat(np.arange(len(products)), kept), places.ravel()

    def _merge(self, queries: Array, products: Array, rows: Array) -> None:
        """Keep the smallest of the old and the new rows of each query."""
        if not len(queries):
            return
        numbers = np.concatenate([np.repeat(np.arange(len(self.queries)), self.count), queries])
        all_products = np.concatenate([self.products.ravel(), products])
        order = np.lexsort((all_products, numbers))
        sizes = np.bincount(numbers, minlength=len(self.queries))
        starts = np.cumsum(sizes) - sizes
        kept = order[(starts[:, None] + np.arange(self.count)).ravel()]
        self.products = all_products[kept].reshape(self.products.shape)
        self.rows = np.concatenate([self.rows.ravel(), rows])[kept].reshape(self.rows.shape)

    def rows_of(self) -> Iterator[list[Row]]:
        """Yield the candidates of each query."""
        for products, rows in zip(self.products, self.rows, strict=True):
            yield rows[np.isfinite(products)].tolist()

    @property
    def bounds_of_others(self) -> Array:
        """The least distance of any row that is no candidate, for each query; infinite if there is none."""
        if self.bounds is None:
            return np.full(len(self.queries), np.inf)
        worst = self.products[:, -1].astype(np.float64)
        is_known = np.isfinite(worst)
        return np.where(is_known, self.bounds.of_server(np.where(is_known, worst, 0)), np.inf)
