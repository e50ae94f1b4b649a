"""The exact neighbors of many queries are those of the server, whatever numpy can and cannot compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from local.binaries import INSTALLED
from local.server import Server
from pgvector_seed.data.all_vectors import StoredVectors
from pgvector_seed.data.candidates import Candidates
from pgvector_seed.data.query_vector import query_vector
from pgvector_seed.data.search import Question, find_search
from pgvector_seed.data.truth import true_distances
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.vectors.exact import exact_distances
from tests.conftest import TEMPLATE, ask, conninfo
from tests.data.helpers import Array, vectors

pytestmark = pytest.mark.newest
K, ROWS, DIMENSIONS = 5, 600, 24
COPY = "COPY {} (id, embedding) FROM STDIN"


@pytest.fixture(scope="module")
def shared(start_server: Callable[[int], Server]) -> Iterator[str]:
    """Yield a database for all tests here."""
    server = start_server(max(INSTALLED))
    ask(conninfo(server, "postgres"), f"CREATE DATABASE truth TEMPLATE {TEMPLATE}")
    yield conninfo(server, "truth")
    ask(conninfo(server, "postgres"), "DROP DATABASE truth WITH (FORCE)")


@pytest.fixture
def session(shared: str) -> Iterator[Connection]:
    """Yield a connection to a database without a table."""
    ask(shared, "DROP TABLE IF EXISTS items CASCADE")
    with connect(shared) as connection:
        yield connection


def fill(connection: Connection, rows: Array, type_: str = "vector", table: str = "items", columns: str = "") -> None:
    """Create a table with these vectors, and its id as the only other column."""
    connection.execute(f"CREATE TABLE {table} (id int, embedding {type_}{columns})".encode())
    put(connection, rows, table)


def put(connection: Connection, rows: Array, table: str = "items") -> None:
    """Insert vectors."""
    with connection.cursor().copy(COPY.format(table).encode()) as copy:
        for id_, row in enumerate(rows.tolist()):
            copy.write_row((id_, str(row)))


def both(
    connection: Connection, queries: Array, metric: str, k: int = K, **question: Any
) -> tuple[list[list[float]], list[list[float]], list[str]]:
    """Return the distances by ``true_distances``, those of the server, and the lines of progress."""
    values = question.pop("bound", ())
    search = find_search(connection, Question("items", metric=metric, values=len(values), **question))
    made = [query_vector(search.target.vector, metric, query) for query in queries]
    lines: list[str] = []
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ours = true_distances(connection, search, made, k, values, lines.append)
        condition = search.selection.condition
        theirs = [exact_distances(connection, search.column, query, k, condition, values) for query in made]
    return ours, theirs, lines


def was_computed(lines: Sequence[str]) -> bool:
    """Return True if no query was left to the server."""
    return not any(line.startswith("exact search") for line in lines)


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_numpy_finds_the_neighbors_of_the_server(session: Connection, type_: str, metric: str) -> None:
    """Distances are equal to the last bit, as the server computes them; of ip they are negative."""
    fill(session, vectors(ROWS, DIMENSIONS), f"{type_}({DIMENSIONS})")
    ours, theirs, lines = both(session, vectors(50, DIMENSIONS, seed=2), metric)
    assert ours == theirs
    assert was_computed(lines)
    assert (theirs[0][0] < 0) is (metric == "ip")


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_digits_that_cancel_out_do_not_change_the_neighbors(session: Connection, metric: str) -> None:
    """With an offset of 10,000 the squares have no digits left for the distances of the rows."""
    rows = vectors(ROWS, DIMENSIONS) + np.float32(1e4)
    fill(session, rows, f"vector({DIMENSIONS})")
    ours, theirs, lines = both(session, vectors(30, DIMENSIONS, seed=2) + np.float32(1e4), metric)
    assert ours == theirs
    assert was_computed(lines) is (metric == "l2"), "other bounds are too wide, so the server was asked"


@pytest.mark.parametrize("size", [1e-22, 1e18, 3e38])
def test_numbers_beyond_the_squares_of_float32(session: Connection, size: float) -> None:
    fill(session, (vectors(ROWS, 8) * size).astype(np.float32), "vector(8)")
    for metric in ("l2", "ip", "cosine"):
        ours, theirs, _ = both(session, (vectors(10, 8, seed=2) * size).astype(np.float32), metric)
        assert ours == theirs, metric


def test_ties_at_the_last_place_and_identical_vectors(session: Connection) -> None:
    """Of equally near rows any counts, and the farthest of the k is right."""
    rows = np.repeat(vectors(20, 4), 30, axis=0)
    fill(session, rows, "vector(4)")
    for metric in ("l2", "cosine", "ip"):
        ours, theirs, _ = both(session, vectors(10, 4, seed=2), metric)
        assert ours == theirs, metric
    session.execute("UPDATE items SET embedding = '[1,2,3,4]'")
    ours, theirs, _ = both(session, vectors(10, 4, seed=2), "l2")
    assert ours == theirs


def test_null_and_zero_vectors_are_no_neighbors(session: Connection) -> None:
    """Under cosine, a zero vector has no distance."""
    rows = vectors(40, 3)
    rows[::2] = 0
    fill(session, rows, "vector(3)")
    session.execute("UPDATE items SET embedding = NULL WHERE id % 4 = 1")
    queries = vectors(5, 3, seed=2)
    cosine, theirs, _ = both(session, queries, "cosine", k=20)
    assert cosine == theirs
    assert {len(distances) for distances in cosine} == {10}
    l2, theirs, _ = both(session, queries, "l2", k=20)
    assert l2 == theirs


def test_fewer_rows_than_k_and_none(session: Connection) -> None:
    fill(session, vectors(3, 3), "vector(3)")
    ours, theirs, _ = both(session, vectors(4, 3, seed=2), "l2")
    assert ours == theirs
    assert len(ours[0]) == 3
    session.execute("TRUNCATE items")
    assert both(session, vectors(4, 3, seed=2), "l2")[0] == [[]] * 4


def test_partitions_have_rows_at_equal_places(session: Connection) -> None:
    session.execute("CREATE TABLE items (id int, embedding vector(8)) PARTITION BY LIST (id)")
    for part in range(3):
        ids = ", ".join(map(str, range(part, 300, 3)))
        session.execute(f"CREATE TABLE items_{part} PARTITION OF items FOR VALUES IN ({ids})".encode())
    put(session, vectors(300, 8))
    ours, theirs, lines = both(session, vectors(20, 8, seed=2), "l2")
    assert ours == theirs
    assert was_computed(lines)


def test_dimensions_that_are_not_declared(session: Connection) -> None:
    """Equal dimensions are computed; others are refused by the server, in its words."""
    fill(session, vectors(ROWS, 8))
    ours, theirs, lines = both(session, vectors(9, 8, seed=2), "l2")
    assert ours == theirs
    assert was_computed(lines)
    session.execute("INSERT INTO items VALUES (-1, '[1,2,3]')")
    with pytest.raises(psycopg.DataError, match=r"different vector dimensions (3 and 8|8 and 3)"):
        both(session, vectors(9, 8, seed=2), "l2")


@pytest.mark.parametrize(("type_", "metric"), [("vector", "l1"), ("sparsevec", "l2"), ("bit", "hamming")])
def test_other_types_and_metrics_are_asked_for(session: Connection, type_: str, metric: str) -> None:
    session.execute(f"CREATE TABLE items (id int, embedding {type_}(3))".encode())
    texts = {"vector": "[{},{},1]", "sparsevec": "{{1:{},2:{}}}/3", "bit": "1{}{}"}[type_]
    for id_, row in enumerate([(0, 1), (1, 1), (1, 0), (0, 0)]):
        session.execute("INSERT INTO items VALUES (%s, %s)", (id_, texts.format(*row)))
    search = find_search(session, Question("items", metric=metric))
    query = query_vector(search.target.vector, metric, texts.format(1, 1))
    with session.transaction():
        ours = true_distances(session, search, [query], 2)
        assert ours == [exact_distances(session, search.column, query, 2)]


def test_a_condition_is_the_server_s(session: Connection) -> None:
    fill(session, vectors(ROWS, 8), "vector(8)")
    ours, theirs, lines = both(session, vectors(5, 8, seed=2), "l2", where="id % $1 = 0", bound=("7",))
    assert ours == theirs
    assert not was_computed(lines)
    assert ours != both(session, vectors(5, 8, seed=2), "l2")[0]


def test_row_security_hides_rows_from_the_truth(session: Connection, shared: str) -> None:
    """The truth is by the login's own rights, and so is what it does without the right to select ctid."""
    fill(session, vectors(ROWS, 8), "vector(8)")
    queries = vectors(5, 8, seed=2)
    of_owner = both(session, queries, "l2")[0]
    session.execute("CREATE ROLE truth_reader LOGIN PASSWORD 'x'")
    try:
        session.execute("GRANT SELECT (embedding) ON items TO truth_reader")
        with connect(psycopg.conninfo.make_conninfo(shared, user="truth_reader", password="x")) as reader:
            assert both(reader, queries, "l2")[0] == of_owner, "without the right to every column"
            session.execute("GRANT SELECT ON items TO truth_reader; ALTER TABLE items ENABLE ROW LEVEL SECURITY")
            session.execute("CREATE POLICY odd ON items FOR SELECT USING (id % 2 = 1)")
            of_reader, theirs, _ = both(reader, queries, "l2")
            assert of_reader == theirs != of_owner
        assert both(session, queries, "l2")[0] == of_owner
    finally:
        session.execute("DROP OWNED BY truth_reader; DROP ROLE truth_reader")


def test_rows_that_are_written_meanwhile_do_not_count(session: Connection, shared: str) -> None:
    """Regression: rows between the COPY and the distances would be missing, or have moved."""
    fill(session, vectors(ROWS, 8), "vector(8)")
    queries = vectors(5, 8, seed=2)
    before = both(session, queries, "l2")[0]
    search = find_search(session, Question("items", metric="l2"))
    made = [query_vector(search.target.vector, "l2", query) for query in queries]

    def write(line: str) -> None:
        if "rows read" in line:
            ask(shared, "DELETE FROM items WHERE id % 2 = 0; UPDATE items SET embedding = '[0,0,0,0,0,0,0,0]'")
            ask(shared, "VACUUM items")

    with session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        during = true_distances(session, search, made, K, (), write)
    assert during == before
    assert both(session, queries, "l2")[0] != before


def test_the_settings_end_with_it(session: Connection) -> None:
    """The searches that are compared with the truth have the session's own settings again."""
    fill(session, vectors(50, 3), "vector(3)")
    shown = sql.SQL("SELECT name, setting FROM pg_settings ORDER BY 1")
    search = find_search(session, Question("items", metric="l1"))
    query = query_vector(search.target.vector, "l1", [1, 2, 3])
    with session.transaction():
        before = session.execute(shown).fetchall()
        true_distances(session, search, [query], 1)
        assert session.execute(shown).fetchall() == before


@pytest.mark.parametrize("order", [1, -1])
def test_blocks_in_any_order_have_the_same_candidates(order: int) -> None:
    """Rows that come ever nearer exceed the threshold at each block, and are found by a partition."""
    rows, queries = vectors(3000, 6), vectors(7, 6, seed=2)
    rows = rows[np.argsort(np.linalg.norm(rows - queries[0], axis=1))[::order]]
    candidates = Candidates("l2", queries, 10)
    for start in range(0, len(rows), 100):
        numbers = np.arange(start, start + 100)
        candidates.add(StoredVectors(numbers, numbers, numbers, rows[start : start + 100]))
    for query, kept in zip(queries, candidates.rows_of(), strict=True):
        nearest = np.argsort(np.linalg.norm(rows - query, axis=1))[:10]
        assert {row[0] for row in kept} == set(nearest.tolist())
