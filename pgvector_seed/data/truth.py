"""The exact neighbors of many queries: the ground truth of recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgvector_seed.data.query_vector import QueryVector, register
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.exact import exact_distances

TYPES, METRICS = ("vector", "halfvec"), ("l2", "ip", "cosine")  # whose distances numpy can bound
# A policy must be applied by the server. ctid can be selected only by a role that may select every column.
_SEES_ALL = """
SELECT NOT row_security_active(%(table)s::oid) AND has_table_privilege(%(table)s::oid, 'SELECT')
"""

Distances = list[float]


def ignore(_line: str) -> None:
    """Report no progress."""


def true_distances(
    connection: Connection,
    search: Search,
    queries: Sequence[QueryVector],
    k: int,
    values: Sequence[object] = (),
    report: Progress = ignore,
) -> list[Distances]:
    """Return the distances of the ``k`` nearest rows of each query, nearest first; fewer if there are fewer rows.

    The server computes all of them. If it can, numpy tells it which rows to compare. ``values`` are those of the
    search's condition.

    Call it in a REPEATABLE READ transaction, in which other searches see the same rows. Its settings are reset.
    """
    register(connection)
    with connection.transaction(force_rollback=True):
        distances: list[Distances | None] = [None] * len(queries)
        if (
            queries
            and search.selection.condition is None
            and is_computable(connection, search.column, search.target.oid)
        ):
            distances = computed(connection, search.column, queries, k, report)
        open_ = [place for place, known in enumerate(distances) if known is None]
        for number, place in enumerate(open_, start=1):
            distances[place] = exact_distances(
                connection, search.column, queries[place], k, search.selection.condition, values
            )
            report(f"exact search of {number:,} of {len(open_):,} queries")
    return [known for known in distances if known is not None]


def computed(
    connection: Connection, column: VectorColumn, queries: Sequence[QueryVector], k: int, report: Progress = ignore
) -> list[Distances | None]:
    """Return the distances that numpy can find, and None for each other query. The column ``is_computable``.

    Call it in a REPEATABLE READ transaction that is rolled back: it changes settings.
    """
    register(connection)
    compute = _computing()
    distances = compute(connection, column, queries, k, report) if compute and queries else None
    return distances or [None] * len(queries)


def is_computable(connection: Connection, column: VectorColumn, table: int) -> bool:
    """Return True if numpy is installed, and can find the distances with what this session may read."""
    if column.type not in TYPES or column.metric not in METRICS or _computing() is None:
        return False
    return query_catalog(connection, _SEES_ALL, {"table": table}) == [(True,)]


def _computing() -> Callable[..., list[Distances | None] | None] | None:
    """Return ``computed_distances``, or None without numpy."""
    try:
        from pgvector_seed.data.computed import computed_distances
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return None
    return computed_distances
