"""The queries that a tuning asks: stored vectors, or those of a file."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import RawCursor

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import needing_load_extra
from pgvector_seed.common.text import counted
from pgvector_seed.data.query_vector import QueryVector, query_vector, register
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.queries import sample_queries

FEWEST = 20  # queries; half of them choose, half confirm
_AT_ONCE = 100  # statements in a pipeline
# Of the rows without their TOAST tables: TABLESAMPLE takes blocks of these.
_SIZE = """
SELECT coalesce(sum(pg_relation_size(relid)), 0)::int8
FROM (SELECT %(table)s::oid::regclass UNION SELECT relid FROM pg_partition_tree(%(table)s::oid)) AS tree (relid)
"""


@dataclass(frozen=True)
class TuningQuery:
    """A query vector. If it is a stored one, ``own_distance`` is that of its own row."""

    vector: QueryVector
    own_distance: float | None = None


def stored_queries(
    connection: Connection, search: Search, count: int, values: Sequence[object] = ()
) -> list[TuningQuery]:
    """Return random stored vectors that fulfil the search's condition, as queries.

    Raises InputError if there are too few.
    """
    ((size,),) = query_catalog(connection, _SIZE, {"table": search.target.oid})
    texts = sample_queries(connection, search.column, size, count, search.selection.condition, values)
    if len(texts) < FEWEST:
        which = "" if search.selection.condition is None else " that fulfil the condition"
        raise InputError(
            f"{search.target.shown} has {counted(len(texts), 'vector')}{which} to query with, and {FEWEST} are needed",
            "So few rows need no index, and an exact search is fast.",
        )
    vectors = [query_vector(search.target.vector, search.column.metric, text) for text in texts]
    owns = _own_distances(connection, search, vectors)
    return [TuningQuery(vector, own) for vector, own in zip(vectors, owns, strict=True)]


def _own_distances(connection: Connection, search: Search, vectors: Sequence[QueryVector]) -> list[float]:
    register(connection)
    statement = search.column.distance_to_itself.as_bytes()
    distances: list[float] = []
    for start in range(0, len(vectors), _AT_ONCE):
        with connection.pipeline():
            cursors = [
                RawCursor(connection).execute(statement, (vector,), prepare=False)
                for vector in vectors[start : start + _AT_ONCE]
            ]
        distances += [cursor.fetchall()[0][0] for cursor in cursors]
    return distances


def queries_of_file(search: Search, file: str, count: int) -> list[TuningQuery]:
    """Return at most ``count`` vectors of a file, in random order. Raises as ``read_questions``, and if it has few."""
    with needing_load_extra("--file"):
        from pgvector_seed.data.questions import read_questions
    dice = random.Random(0)  # noqa: S311  # the same file gives the same queries
    drawn = heapq.nsmallest(count, read_questions(file, search), key=lambda _: dice.random())
    if len(drawn) < FEWEST:
        raise InputError(f"{file} has {counted(len(drawn), 'vector')}, and {FEWEST} queries are needed")
    return [TuningQuery(vector) for vector in drawn]
