"""Answering many queries: in order, as one by one, and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.data.answer import answering, parameters_of
from pgvector_seed.data.asking import run
from pgvector_seed.data.many import BATCH_QUERIES, answer_many
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, find_search
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask
from tests.data.helpers import vectors
from tests.proxies import pooler

pytestmark = pytest.mark.newest
FILL = """
CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3));
INSERT INTO items SELECT n, ARRAY[sin(n), cos(n * 7), sin(n * 3)]::vector FROM generate_series(1, 1000) n;
CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)
"""


@pytest.fixture
def filled(database: str) -> str:
    """Return a database with a table of 1,000 vectors."""
    ask(database, FILL)
    return database


def test_many_are_answered_as_one_by_one(filled: str) -> None:
    queries = vectors(2 * BATCH_QUERIES + 1)
    with connect(filled) as connection:
        search = find_search(connection, Question("items", where="id > $1", values=1))
        register(connection)
        many = list(answer_many(connection, search, queries, 5, ("20",), fallback=True))
        assert many == [
            run(connection, answering(search, parameters_of(search, query, 5, ("20",)))) for query in queries
        ]
        exact = list(answer_many(connection, search, queries[:3], 5, ("20",), exact=True))
        assert [answer.exact for answer in exact] == [True] * 3
        assert [answer.neighbors for answer in exact] == [answer.neighbors for answer in many[:3]]


def test_they_are_prepared_once_and_read_as_they_are_answered(filled: str) -> None:
    """The first answers come before the last queries are read, and the connection keeps its own threshold."""
    taken = 0

    def queries() -> Iterator[list[float]]:
        nonlocal taken
        for taken in range(1, 1001):  # noqa: B007
            yield [0.0, 1.0, 0.0]

    with connect(filled) as connection:
        search = find_search(connection, Question("items"))
        answers = answer_many(connection, search, queries(), 1)
        next(answers)
        assert taken == BATCH_QUERIES
        assert len(list(answers)) == 999
        statements = connection.execute("SELECT generic_plans + custom_plans FROM pg_prepared_statements").fetchall()
        assert statements == [(1000,)]
        assert connection.prepare_threshold is None


def test_an_error_comes_after_the_answers_before_it(filled: str) -> None:
    with connect(filled) as connection:
        search = find_search(connection, Question("items"))
        answers = answer_many(connection, search, [[0, 1, 0]] * 3 + [[0, 1]], 1)
        assert [len(next(answers).neighbors) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(InputError, match="the query has 2 dimensions"):
            next(answers)
        with pytest.raises(InputError, match="k must be at least 1"):
            next(answer_many(connection, search, [[0, 1, 0]], 0))


def test_an_error_of_the_server_leaves_the_connection_usable(filled: str) -> None:
    with connect(filled) as connection:
        search = find_search(connection, Question("items", where="id / $1 > 0", values=1))
        with pytest.raises(InputError, match="division by zero"):
            list(answer_many(connection, search, [[0, 1, 0]] * 3, 1, ("0",)))
        connection.execute("SET statement_timeout = 100")
        slow = find_search(connection, Question("items", where="pg_sleep(1) IS NULL"))
        with pytest.raises(WrongResultError, match="statement timeout"):
            list(answer_many(connection, slow, [[0, 1, 0]] * 3, 1))
        assert len(list(answer_many(connection, search, [[0, 1, 0]] * 3, 1, ("1",)))) == 3


def test_nothing_is_prepared_through_a_pooler(server: Server, filled: str) -> None:
    """The next transaction may run in another session, which lacks the statement or has one of another client."""
    with pooler(server) as proxy, connect(make_conninfo(filled, port=proxy.port)) as connection:
        search = find_search(connection, Question("items"))
        assert len(list(answer_many(connection, search, [[0, 1, 0]] * 250, 1))) == 250
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
