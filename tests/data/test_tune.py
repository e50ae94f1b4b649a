"""The recommended setting is the smallest that is good enough, and nothing is recommended without evidence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pgvector import Vector

from local.binaries import INSTALLED
from local.server import Server
from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.data.search import Question, find_search
from pgvector_seed.data.tune import tune
from pgvector_seed.data.tuning import Aim, Level, Subject, Tuning
from pgvector_seed.data.tuning_queries import stored_queries
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.vectors.exact import exact_distances
from tests.conftest import TEMPLATE, ask, conninfo
from tests.data.helpers import Array, save, vectors, write_jsonl

pytestmark = pytest.mark.newest
ROWS, DIMENSIONS = 4000, 24
# A graph that is too small: its recall is far from 1 with few candidates.
TABLES = f"""
CREATE TABLE raw (id int, embedding vector({DIMENSIONS}));
CREATE TABLE small (id int PRIMARY KEY, v vector(3));
INSERT INTO small SELECT i, ARRAY[i, i % 7, 1]::vector FROM generate_series(1, 50) i;
CREATE TABLE empty (v vector(3));
CREATE INDEX ON empty USING hnsw (v vector_l2_ops);
CREATE TABLE equal (v vector(3));
INSERT INTO equal SELECT '[1,2,3]' FROM generate_series(1, 3000);
CREATE INDEX ON equal USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 8);
"""
INDEXED = """
CREATE TABLE items (id int PRIMARY KEY, tenant int, embedding vector(24));
INSERT INTO items SELECT id, id % 10, embedding FROM raw;
CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_l2_ops) WITH (m = 4, ef_construction = 16);
CREATE TABLE lists (LIKE items);
INSERT INTO lists SELECT * FROM items;
CREATE INDEX lists_ivf ON lists USING ivfflat (embedding vector_l2_ops) WITH (lists = 40);
CREATE TABLE parts (LIKE items) PARTITION BY LIST (tenant);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0, 1, 2, 3, 4);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT * FROM items;
CREATE INDEX ON parts USING hnsw (embedding vector_ip_ops) WITH (m = 4, ef_construction = 16);
ANALYZE
"""


def put(database: str, rows: Array) -> None:
    """Fill the table raw with ids and vectors."""
    with connect(database) as connection, connection.cursor().copy("COPY raw FROM STDIN") as copy:
        for id_, row in enumerate(rows.tolist()):
            copy.write_row((id_, str(row)))


class Recorder:
    """Keeps what a tuning reports."""

    def __init__(self) -> None:
        self.subjects: list[Subject] = []
        self.levels: list[Level] = []

    def began(self, subject: Subject) -> None:
        self.subjects.append(subject)

    def progress(self, line: str) -> None:
        pass

    def measured(self, level: Level) -> None:
        self.levels.append(level)


@pytest.fixture(scope="module")
def shared(start_server: Callable[[int], Server]) -> Iterator[str]:
    """Yield a database with tables that have an index, and others that have none."""
    server = start_server(max(INSTALLED))
    ask(conninfo(server, "postgres"), f"CREATE DATABASE tune TEMPLATE {TEMPLATE}")
    database = conninfo(server, "tune")
    ask(database, TABLES)
    put(database, vectors(ROWS, DIMENSIONS))
    ask(database, INDEXED)
    yield database
    ask(conninfo(server, "postgres"), "DROP DATABASE tune WITH (FORCE)")


@pytest.fixture
def session(shared: str) -> Iterator[Connection]:
    with connect(shared) as connection:
        yield connection


def run(session: Connection, table: str = "items", where: str | None = None, *values: object, **aim: Any) -> Tuning:
    """Tune the search of a table."""
    question = Question(table, metric=aim.pop("metric", None), where=where, values=len(values))
    return tune(session, question, values, Aim(**{"queries": 100, **aim}), Recorder())


def test_the_smallest_value_whose_lower_bound_meets_the_target(session: Connection) -> None:
    """Smaller values are not sure to meet it, and a few larger ones show what more would cost."""
    tuning = run(session, target=0.8)
    level = tuning.recommended
    assert level is not None
    assert level.confirmed is not None
    place = tuning.levels.index(level)
    assert place > 0, "the graph is too small for its first value"
    assert level.measured.recall.low >= 0.8 <= level.confirmed.mean
    assert all(smaller.measured.recall.low < 0.8 or smaller.confirmed for smaller in tuning.levels[:place])
    assert len(tuning.levels) == place + 3
    assert tuning.settings == {"hnsw.ef_search": str(level.value), "hnsw.iterative_scan": "strict_order"}
    assert (tuning.subject.choosing, tuning.subject.confirming) == (50, 50)


def test_the_recall_is_the_one_of_a_count_by_hand(session: Connection, tmp_path: Path) -> None:
    """Rows by the index are compared with rows without it, query by query."""
    queries = vectors(20, DIMENSIONS, seed=3)
    tuning = run(session, k=10, file=save(tmp_path / "q.npy", queries), all_levels=True, target=1.0)
    means = {level.value: level.measured.recall.mean for level in tuning.levels}
    assert list(means) == [10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000][: len(means)]
    shares = []
    for query in queries:
        statement = "SELECT id FROM items ORDER BY embedding <-> %s::vector LIMIT 10"
        ids = []
        for settings in ("SET LOCAL enable_indexscan = off", "SET LOCAL hnsw.ef_search = 40"):
            with session.transaction():
                session.execute(settings.encode())
                ids.append(set(session.execute(statement, (str(query.tolist()),)).fetchall()))
        shares.append(len(ids[0] & ids[1]) / 10)
    # The file's queries are drawn in another order, and half of them choose.
    halves = tuning.levels[3].measured.recall
    assert min(shares) <= halves.mean <= 1
    assert abs(halves.mean - float(np.mean(shares))) < 0.2


def test_a_query_is_a_stored_vector_moved_among_its_neighbors(session: Connection) -> None:
    """It is none of the table's, and as near to them as they are to each other; identical vectors are not moved."""
    nearest_of_stored, nearest_of_queries = [], []
    with session.transaction():
        search = find_search(session, Question("items"))
        for query in stored_queries(session, search, 30):
            text = Vector.from_binary(query.vector.data).to_text()
            nearest_of_queries.append(exact_distances(session, search.column, text, 1)[0])
            (row,) = session.execute("SELECT embedding::text FROM items ORDER BY embedding <-> %s LIMIT 1", (text,))
            nearest_of_stored.append(exact_distances(session, search.column, row[0], 2)[1])
        same = stored_queries(session, find_search(session, Question("equal")), 30)
    assert min(nearest_of_queries) > 0
    assert statistics.median(nearest_of_queries) < 3 * statistics.median(nearest_of_stored)
    assert {tuple(Vector.from_binary(query.vector.data).to_list()) for query in same} == {(1, 2, 3)}


def test_ivfflat_is_tuned_by_its_probes(session: Connection) -> None:
    """Without probes left out, every list is read."""
    tuning = run(session, "lists", target=1.0, all_levels=True)
    values = [level.value for level in tuning.levels]
    assert values[:4] == [1, 2, 3, 5]
    recalls = [level.measured.recall.mean for level in tuning.levels]
    assert recalls[0] < 0.9 < max(recalls)
    if tuning.recommended:
        assert list(tuning.settings) == ["ivfflat.probes", "ivfflat.iterative_scan"]


def test_every_value_misses_the_target(session: Connection) -> None:
    """A recall of 1 in every query of both halves is out of reach for this graph, and nothing is recommended."""
    tuning = run(session, target=1.0)
    assert tuning.recommended is None
    assert tuning.settings == {}


def test_a_setting_of_the_session_is_left_and_not_recommended(session: Connection) -> None:
    session.execute("SELECT '[1]'::vector; SET hnsw.iterative_scan = relaxed_order; SET hnsw.ef_search = 77")
    tuning = run(session, target=0.5)
    assert list(tuning.settings) == ["hnsw.ef_search"]
    shown = session.execute("SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')")
    assert shown.fetchall() == [("77", "relaxed_order")]


def test_partitions_and_negative_distances(session: Connection) -> None:
    tuning = run(session, "parts", target=0.5)
    assert len(tuning.subject.index.names) == 2
    assert tuning.recommended is not None
    assert tuning.subject.search.column.metric == "ip"


def test_a_filtered_search_has_a_recall_of_its_own(session: Connection) -> None:
    """Only rows that fulfil the condition are neighbors, and the queries are some of them."""
    tuning = run(session, "items", "tenant = $1", "3", target=0.5, k=5)
    assert tuning.recommended is not None
    assert tuning.recommended.measured.short == 0


@pytest.mark.parametrize(
    ("table", "aim", "message"),
    [
        ("raw", {"metric": "l2"}, "its answers are exact: public.raw has no vector index on embedding"),
        ("items", {"metric": "cosine"}, "no index is for cosine: items_hnsw is for l2"),
        ("small", {"metric": "l2"}, "public.small has no vector index on v"),
        ("empty", {}, "has 0 vectors to query with, and 20 are needed"),
        ("equal", {}, "the 10 nearest rows of each query are equally near"),
        ("items", {"where": "tenant = 3 AND id < 90"}, "has 9 vectors that fulfil the condition"),
        ("items", {"where": "tenant = 'x'"}, "the condition is not valid"),
        ("items", {"where": "tenant = $1"}, "the condition has 1 parameter, and got 0 values"),
    ],
)
def test_what_has_nothing_to_tune(session: Connection, table: str, aim: dict[str, Any], message: str) -> None:
    """A search that reads all rows has a recall of 1, which would only mislead."""
    with pytest.raises(InputError, match=message):
        run(session, table, **aim)


def test_a_plan_without_the_index_is_no_recall_of_1(session: Connection) -> None:
    session.execute("SET enable_indexscan = off")
    with pytest.raises(InputError, match=r"off items_hnsw: enable_indexscan = off \(set in this session\)"):
        run(session)


def test_fewer_rows_than_k_are_too_few(session: Connection) -> None:
    session.execute("SET enable_seqscan = off")
    session.execute("CREATE INDEX small_hnsw ON small USING hnsw (v vector_l2_ops)")
    with pytest.raises(InputError, match="50 rows can be neighbors, and k is 60"):
        run(session, "small", k=60)
    session.execute("DROP INDEX small_hnsw")


def test_a_value_that_does_not_fit_is_the_user_s(session: Connection) -> None:
    with pytest.raises(InputError, match="the server refuses the search: invalid input syntax for type integer"):
        run(session, "items", "tenant = $1", "x")


def test_a_statement_timeout_names_a_way_out(session: Connection) -> None:
    session.execute("SET statement_timeout = 1")
    with pytest.raises(WrongResultError, match=r"statement timeout .*--queries N"):
        run(session, "items", "tenant >= 0 AND pg_sleep(0.01) IS NOT NULL")


def test_files_of_queries(session: Connection, tmp_path: Path) -> None:
    """A bad row is named; a query of the wrong dimensions too."""
    rows = [{"embedding": row} for row in vectors(30, DIMENSIONS, seed=4).tolist()]
    assert run(session, file=write_jsonl(tmp_path / "good.jsonl", rows), target=0.5).recommended
    rows[3]["embedding"] = [str(number) for number in rows[3]["embedding"]]
    with pytest.raises(InputError, match=r"bad\.jsonl, line 4: the query is no vector: not every element is a number"):
        run(session, file=write_jsonl(tmp_path / "bad.jsonl", rows))
    with pytest.raises(InputError, match=r"short.npy, row \d+: the query has 7 dimensions"):
        run(session, file=save(tmp_path / "short.npy", vectors(30, 7)))
    with pytest.raises(InputError, match=r"few\.npy has 3 vectors, and 20 queries are needed"):
        run(session, file=save(tmp_path / "few.npy", vectors(3, DIMENSIONS)))
    with pytest.raises(InputError, match=r"other\.jsonl, line 1: the object has no list"):
        run(session, file=write_jsonl(tmp_path / "other.jsonl", [{"v": [1]}]))
