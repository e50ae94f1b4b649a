"""The queries that a tuning asks: made from stored vectors, or those of a file.

HNSW finds a stored vector more easily than a new one: the graph links it to its neighbors. By 400 queries on 20,000 x
64 in clusters, the recall@10 with an ef_search of 10, 20, 40 and 80 was .95, .97, .97 and .99 for stored vectors, and
.81, .91, .98 and .99 for new ones of one distribution. So a stored vector is moved by the difference of two of its
neighbors, which keeps it among the data: .83, .87, .92 and .95.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from psycopg import RawCursor, sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import needing_extra
from pgvector_seed.common.text import counted
from pgvector_seed.data.asking import Rows
from pgvector_seed.data.query_vector import QueryVector, query_vector, register
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.queries import sample_queries

FEWEST = 20  # queries; half of them choose, half confirm
NEIGHBORS = 10  # of which two tell how far a query is moved
_AT_ONCE = 100  # statements in a pipeline
# Two neighbors of a stored vector; the first of all is its own row.
_PAIR = """
SELECT CAST(column0 AS pg_catalog.text)
FROM (SELECT column0 FROM ({nearest}) AS nearest ORDER BY distance OFFSET 1) AS neighbors
ORDER BY pg_catalog.random() LIMIT 2
"""
# Of the rows without their TOAST tables: TABLESAMPLE takes blocks of these.
_SIZE = """
SELECT coalesce(sum(pg_relation_size(relid)), 0)::int8
FROM (SELECT %(table)s::oid::regclass UNION SELECT relid FROM pg_partition_tree(%(table)s::oid)) AS tree (relid)
"""


@dataclass(frozen=True)
class TuningQuery:
    """A query vector. ``own_distance`` is None unless it is a stored vector: then it is that of its own row."""

    vector: QueryVector
    own_distance: float | None = None


def stored_queries(
    connection: Connection, search: Search, count: int, values: Sequence[object] = ()
) -> list[TuningQuery]:
    """Return queries near random stored vectors that fulfil the search's condition.

    A vector of bit or sparsevec, or one without two neighbors, is asked as it is. Raises InputError if there are too
    few.
    """
    ((size,),) = query_catalog(connection, _SIZE, {"table": search.target.oid})
    texts = sample_queries(connection, search.column, size, count, search.selection.condition, values)
    if len(texts) < FEWEST:
        which = "" if search.selection.condition is None else " that fulfil the condition"
        raise InputError(
            f"{search.target.shown} has {counted(len(texts), 'vector')}{which} to query with, and {FEWEST} are needed",
            "So few rows need no index, and an exact search is fast.",
        )
    register(connection)
    stored = [query_vector(search.target.vector, search.column.metric, text) for text in texts]
    to_itself = search.column.distance_to_itself.as_bytes()
    owns = _ask(connection, to_itself, [(vector,) for vector in stored])
    queries = [TuningQuery(vector, rows[0][0]) for vector, rows in zip(stored, owns, strict=True)]
    if search.target.vector.type not in ("vector", "halfvec"):
        return queries
    pairs = _ask(connection, _pair(search), [(*values, vector, NEIGHBORS + 1) for vector in stored])
    return [_moved(search, *entry) for entry in zip(queries, texts, pairs, strict=True)]


def _pair(search: Search) -> bytes:
    """Return the statement for two neighbors. Its parameters are those of ``search``."""
    selection = replace(search.selection, columns=(search.target.vector.name,))
    vector, k = (sql.SQL(f"${search.values + number}") for number in (1, 2))
    return sql.SQL(_PAIR).format(nearest=search.column.nearest(vector, k, selection)).as_bytes()


def _moved(search: Search, query: TuningQuery, text: str, pair: Rows) -> TuningQuery:
    """Return the query moved by the difference of a pair of vectors, or the query if there is no such vector."""
    if len(pair) < 2:
        return query
    vectors = zip(*(json.loads(vector) for vector in (text, pair[0][0], pair[1][0])), strict=True)
    try:
        moved = [value + one - other for value, one, other in vectors]
        return TuningQuery(query_vector(search.target.vector, search.column.metric, moved))
    except InputError:  # a zero vector, or a number too large for halfvec
        return query


def _ask(connection: Connection, statement: bytes, questions: Sequence[tuple[object, ...]]) -> Iterator[Rows]:
    """Yield the rows of a statement for the parameters of each question."""
    for start in range(0, len(questions), _AT_ONCE):
        with connection.pipeline():
            cursors = [
                RawCursor(connection).execute(statement, parameters, prepare=False)
                for parameters in questions[start : start + _AT_ONCE]
            ]
        for cursor in cursors:
            yield cursor.fetchall()


def queries_of_file(search: Search, file: str, count: int) -> list[TuningQuery]:
    """Return at most ``count`` vectors of a file, in random order. Raises as ``read_questions``, and if it has few."""
    with needing_extra("load", "--file"):
        from pgvector_seed.data.questions import read_questions
    dice = random.Random(0)  # noqa: S311  # the same file gives the same queries
    drawn = heapq.nsmallest(count, read_questions(file, search), key=lambda _: dice.random())
    if len(drawn) < FEWEST:
        raise InputError(f"{file} has {counted(len(drawn), 'vector')}, and {FEWEST} queries are needed")
    return [TuningQuery(vector) for vector in drawn]
