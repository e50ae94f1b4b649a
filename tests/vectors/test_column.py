"""Queries on a vector column, with the settings and rights of its readers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors import column
from pgvector_seed.vectors.column import VectorColumn, fetch_all
from pgvector_seed.vectors.exact import exact_distances
from pgvector_seed.vectors.explain import plan_cached, plan_once
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.reader import CannotImpersonateError, Reader
from pgvector_seed.vectors.recall import measure_recall
from tests.conftest import ask

ROWS = 5000
READER = "a_reader"
POINTS = VectorColumn("public", "points", "at", "vector", "l2", "public")
FILL = f"""
CREATE TABLE points (id int PRIMARY KEY, at vector(3));
INSERT INTO points SELECT i, ARRAY[i % 100, i / 100, i % 7]::vector FROM generate_series(1, {ROWS}) AS i;
CREATE INDEX points_at ON points USING hnsw (at vector_l2_ops) WITH (m = 4, ef_construction = 8);
ANALYZE points
"""
# 32 dimensions that depend on four: neighbors have most of their bits in common.
QUERIES = 300  # the recall of bits on LATENT is .938; by 40 queries, chance took it below .9
LATENT = """
SELECT setseed(0.5);
CREATE TABLE latent (id int PRIMARY KEY, at vector(32));
INSERT INTO latent
SELECT i, array_agg(sin(37 * d) * z[1] + sin(11 * d + 1) * z[2] + sin(7 * d + 2) * z[3] + sin(3 * d + 3) * z[4]
                    ORDER BY d)::vector
FROM (SELECT i, array_agg(random() - 0.5) AS z
      FROM generate_series(1, 3000) AS i, generate_series(1, 4) GROUP BY i) AS factors,
     generate_series(1, 32) AS d
GROUP BY i;
CREATE INDEX half ON latent USING hnsw (CAST(at AS halfvec(32)) halfvec_cosine_ops);
CREATE INDEX of_bits ON latent USING hnsw ((binary_quantize(at)::bit(32)) bit_hamming_ops);
ANALYZE latent
"""
HALF = VectorColumn("public", "latent", "at", "vector", "cosine", "public", 32, cast="halfvec")
BITS = replace(HALF, cast=None, bits=True)


@pytest.fixture
def points(database: str) -> str:
    ask(database, FILL)
    return database


@pytest.fixture
def reader(points: str) -> Iterator[str]:
    ask(points, f"CREATE ROLE {READER} LOGIN PASSWORD 'x'; GRANT SELECT ON points TO {READER}")
    yield READER
    ask(points, f"DROP OWNED BY {READER}; DROP ROLE {READER}")


@pytest.fixture
def asking(points: str) -> Iterator[psycopg.Connection]:
    """Yield a connection inside a transaction."""
    with connect(points) as connection, connection.transaction():
        yield connection


def test_exact_neighbors_are_exact_whatever_the_settings(asking: psycopg.Connection) -> None:
    """Exact search ignores settings under which the index would miss two of three neighbors."""
    asking.execute("SET LOCAL enable_seqscan = off; SELECT '[1]'::vector; SET LOCAL hnsw.ef_search = 1")
    by_hand = "SELECT sqrt(min((at <-> '[50,20,3]') ^ 2)) FROM points"
    distances = exact_distances(asking, POINTS, "[50,20,3]", 3)
    assert distances[0] == pytest.approx(asking.execute(by_hand).fetchone()[0])  # type: ignore[index]
    assert len(distances) == 3
    assert distances == sorted(distances)


def test_exact_neighbors_never_come_from_the_plan_of_the_others(asking: psycopg.Connection) -> None:
    """Regression: both searches shared one cached plan, and a recall of 0.8 was reported as 1."""
    asking.execute("SELECT '[1]'::vector; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL hnsw.ef_search = 1")
    asking.prepare_threshold = 0
    recalls = list(measure_recall(asking, POINTS, ["[50,20,3]"] * 7, 10))
    assert max(recalls) <= 0.1, "one candidate at most was looked at"


def test_rows_without_a_distance_are_nobodys_neighbors(points: str) -> None:
    ask(points, "UPDATE points SET at = NULL WHERE id > 2; UPDATE points SET at = '[0,0,0]' WHERE id = 1")
    cosine = VectorColumn("public", "points", "at", "vector", "cosine", "public")
    with connect(points) as connection, connection.transaction():
        assert len(exact_distances(connection, cosine, "[1,2,3]", 10)) == 1
        assert sample_queries(connection, POINTS, 1, 10) == ["[2,0,2]"]


def test_the_settings_of_the_exact_search_do_not_stay(asking: psycopg.Connection) -> None:
    before = asking.execute("SHOW max_parallel_workers_per_gather").fetchone()
    list(measure_recall(asking, POINTS, ["[50,20,3]"], 3))
    assert asking.execute("SHOW max_parallel_workers_per_gather").fetchone() == before


def test_a_prepared_statement_is_planned_until_the_server_has_settled(asking: psycopg.Connection) -> None:
    """The generic plan is judged exactly if it is the one that readers get."""
    assert {scan.index for scan in plan_once(asking, POINTS, "[1,2,3]", 5)} == {"points_at"}
    assert {scan.index for scan in plan_cached(asking, POINTS, "[1,2,3]", 5)} == {"points_at"}
    asking.execute("SET LOCAL enable_indexscan = off")
    assert {scan.node for scan in plan_cached(asking, POINTS, "[1,2,3]", 5)} == {"Seq Scan"}
    assert asking.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def settings_of(connection: psycopg.Connection, name: str) -> object:
    with (
        connection.transaction(force_rollback=True),
        Reader(READER).impersonate(connection, "public", row_security=False),
    ):
        row = connection.execute("SELECT current_user, pg_catalog.current_setting(%s)", (name,)).fetchone()
    assert row is not None
    assert row[0] == READER
    return row[1]


@pytest.mark.usefixtures("reader")
def test_the_most_special_setting_wins(points: str) -> None:
    """Settings apply as at the reader's login: role in database, role, database, all."""
    here = f'"{ask(points, "SELECT current_database()")[0][0]}"'
    steps = [
        ("ALTER ROLE ALL SET", "11"),
        (f"ALTER DATABASE {here} SET", "12"),
        (f"ALTER ROLE {READER} SET", "13"),
        (f"ALTER ROLE {READER} IN DATABASE {here} SET", "14"),
    ]
    try:
        for statement, value in steps:
            ask(points, f"{statement} hnsw.ef_search = {value}")
            with connect(points) as connection:
                assert settings_of(connection, "hnsw.ef_search") == value
            login = psycopg.conninfo.make_conninfo(points, user=READER, password="x")
            assert ask(login, "SELECT '[1]'::vector, current_setting('hnsw.ef_search')")[0][1] == value, "as for real"
    finally:
        ask(points, "ALTER ROLE ALL RESET hnsw.ef_search")


@pytest.mark.usefixtures("reader")
def test_rows_that_only_the_reader_sees(points: str) -> None:
    """A login that cannot become the reader sees other rows, and so does not vouch for the reader's."""
    ask(points, "CREATE ROLE a_checker LOGIN PASSWORD 'x'; GRANT SELECT ON points TO a_checker")
    try:
        login = psycopg.conninfo.make_conninfo(points, user="a_checker", password="x")
        with connect(login) as connection, connection.transaction():
            with Reader(READER).impersonate(connection, "public", row_security=False):
                assert connection.execute("SELECT current_user").fetchone() == ("a_checker",)
            with (
                pytest.raises(CannotImpersonateError, match="row security"),
                Reader(READER).impersonate(connection, "public", row_security=True),
            ):
                pass
    finally:
        ask(points, "DROP OWNED BY a_checker; DROP ROLE a_checker")


def test_names_are_quoted(new_database: Callable[..., str]) -> None:
    """A percent sign in a name is not taken for a placeholder."""
    database = new_database()
    ask(database, 'CREATE TABLE "100 %s" ("%(at)s" vector(2)); INSERT INTO "100 %s" VALUES (\'[1,2]\'), (\'[1,2]\')')
    odd = VectorColumn("public", "100 %s", "%(at)s", "vector", "l2", "public")
    with connect(database) as connection, connection.transaction():
        assert sample_queries(connection, odd, 1, 5) == ["[1,2]", "[1,2]"]
        assert list(measure_recall(connection, odd, ["[1,2]"], 3)) == [1]
        assert plan_once(connection, odd, "[1,2]", 1)


@pytest.mark.parametrize(("asked", "index"), [(HALF, "half"), (BITS, "of_bits")], ids=["half", "bits"])
def test_a_cast_and_bits_are_searched_by_their_index(database: str, asked: VectorColumn, index: str) -> None:
    """Recall is that of this query, whose distances are those of the full vectors."""
    ask(database, LATENT)
    with connect(database) as connection, connection.transaction():
        queries = sample_queries(connection, asked, 1, QUERIES)
        assert {scan.index for scan in plan_once(connection, asked, queries[0], 10)} == {index}
        assert {scan.index for scan in plan_cached(connection, asked, queries[0], 10)} == {index}
        nearest = fetch_all(connection, asked.nearest(sql.SQL("$1"), sql.SQL("$2")), queries[0], 10)
        assert {row[0] for row in nearest} <= set(exact_distances(connection, asked, queries[0], 3000))
        assert 0.9 < statistics.mean(measure_recall(connection, asked, queries, 10)) <= 1
        connection.execute("SET LOCAL hnsw.ef_search = 1")
        assert statistics.mean(measure_recall(connection, asked, queries, 10)) < 0.5, "the index gives the rows"


def test_bits_need_the_second_ranking(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest by their bits alone are other rows than the nearest."""
    ask(database, LATENT)
    with connect(database) as connection, connection.transaction():
        queries = sample_queries(connection, BITS, 1, QUERIES)
        ranked = statistics.mean(measure_recall(connection, BITS, queries, 10))
        monkeypatch.setattr(column, "CANDIDATES", 1)
        assert statistics.mean(measure_recall(connection, BITS, queries, 10)) < 0.5 < 0.9 < ranked


def test_names_of_a_cast_and_of_bits_are_quoted(new_database: Callable[..., str]) -> None:
    database = new_database()
    ask(database, 'CREATE TABLE "100 %s" ("%(at)s" vector(2)); INSERT INTO "100 %s" VALUES (\'[1,2]\'), (\'[1,2]\')')
    odd = VectorColumn("public", "100 %s", "%(at)s", "vector", "l2", "public", 2)
    with connect(database) as connection, connection.transaction():
        connection.execute("SET LOCAL search_path TO pg_catalog")
        for asked in (replace(odd, cast="halfvec"), replace(odd, bits=True)):
            assert list(measure_recall(connection, asked, ["[1,2]"], 3)) == [1]
            assert plan_cached(connection, asked, "[1,2]", 1)
