"""Which vector index serves a search, and every reason why none does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pgvector_seed.data.answer import parameters_of
from pgvector_seed.data.plans import plan_of
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, find_search
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.vectors.index_use import IndexUse
from pgvector_seed.vectors.unusable import Cause
from tests.conftest import ask

pytestmark = pytest.mark.newest
FILL = """
CREATE TABLE items (id bigint PRIMARY KEY, label text, embedding vector(8));
INSERT INTO items SELECT n, CASE WHEN n % 500 = 0 THEN 'rare' ELSE 'common' END,
    (SELECT array_agg(sin(n * 7919 + d * n)) FROM generate_series(1, 8) d)::vector FROM generate_series(1, {rows}) n;
"""
HNSW = "CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_l2_ops){}; ANALYZE items;"
POINT = [0.1] * 8


def use_of(connection: Connection, values: Sequence[Any] = (), **question: Any) -> IndexUse:
    """Return the judgement of a search for the 10 nearest rows by l2."""
    search = find_search(connection, Question("items", metric="l2", values=len(values), **question))
    register(connection)
    return plan_of(connection, search, parameters_of(search, POINT, 10, values))


def test_the_reasons(database: str) -> None:
    """Each state of one table after the other; a search leaves the settings of the session as they are."""
    ask(database, FILL.format(rows=3000) + "ANALYZE items")
    with connect(database) as connection:
        assert (use := use_of(connection)).cause is Cause.NO_INDEX
        assert use.reason == "public.items has no vector index on embedding"
        connection.execute("CREATE INDEX items_cosine ON items USING hnsw (embedding vector_cosine_ops)")
        assert (use := use_of(connection)).cause is Cause.METRIC
        assert use.reason == "no index is for l2: items_cosine is for cosine (vector_cosine_ops) alone"
        connection.execute(HNSW.format(" WHERE label = 'common'").encode())
        assert (use := use_of(connection)).cause is Cause.CONDITION
        assert "items_hnsw has only rows with (label = 'common'::text)" in use.reason
        assert use_of(connection, where="label = 'common'").indexes == ("items_hnsw",)
        assert use_of(connection, ["common"], where="label = $1").indexes == ("items_hnsw",)
        assert use_of(connection, ["rare"], where="label = $1").cause is Cause.CONDITION
        connection.execute("SET plan_cache_mode = force_generic_plan")
        use = use_of(connection, ["common"], where="label = $1")
        assert use.explained() == "a setting keeps the planner off items_hnsw: plan_cache_mode = force_generic_plan"
        connection.execute(b"RESET plan_cache_mode; DROP INDEX items_hnsw;" + HNSW.format("").encode())
        assert use_of(connection) == IndexUse(("items_hnsw",))
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_hnsw'::regclass")
        assert (use := use_of(connection)).cause is Cause.BROKEN
        assert use.reason.startswith("items_hnsw is invalid")


def test_settings_are_named(database: str) -> None:
    """Of several settings that are not the defaults, those that keep the planner off the index are named."""
    ask(database, FILL.format(rows=3000) + HNSW.format(""))
    with connect(database) as connection:
        connection.execute("SET effective_cache_size = '10GB'; SET enable_indexscan = off; SET cpu_tuple_cost = 0.02")
        use = use_of(connection)
        assert (use.cause, [setting.name for setting in use.settings]) == (Cause.SETTING, ["enable_indexscan"])
        words = "a setting keeps the planner off items_hnsw: enable_indexscan = off"
        assert (use.explained(), use.explained(sources=True)) == (words, f"{words} (set in this session)")
        assert connection.execute("SHOW enable_indexscan").fetchone() == ("off",)
        connection.execute("SET random_page_cost = 1e6")
        use = use_of(connection)
        assert {"enable_indexscan", "random_page_cost"} <= {setting.name for setting in use.settings}
        assert use.reason.startswith("settings keep the planner off")


def test_a_cheaper_plan(database: str) -> None:
    """A condition that an index of its own answers is PostgreSQL's choice; one that is never true needs no scan."""
    ask(database, FILL.format(rows=3000) + HNSW.format(""))
    with connect(database) as connection:
        use = use_of(connection, ["7"], where="id = $1")
        assert use.cause is Cause.COSTS
        assert use.reason.startswith("the planner prefers Index Scan by items_pkey on items to the index, with the ")
        assert use_of(connection, where="false").cause is Cause.CONDITION
        subquery = "id IN (SELECT id FROM items WHERE label <> 'x')"
        assert use_of(connection, where=subquery).cause in (None, Cause.COSTS)


def test_few_rows(database: str) -> None:
    ask(database, FILL.format(rows=50) + HNSW.format(""))
    with connect(database) as connection:
        use = use_of(connection)
        assert use.cause is Cause.SMALL
        assert "has fewer than 2,000 rows: reading all of them is faster than items_hnsw" in use.reason


def test_partitions(database: str) -> None:
    """Each large partition that is searched needs its index; a small one is read."""
    table, rows = FILL.format(rows=5000).split(";", 1)
    parts = (
        "CREATE TABLE p1 PARTITION OF items FOR VALUES FROM (1) TO (2500); CREATE TABLE p2 PARTITION OF items DEFAULT;"
    )
    ask(
        database,
        f"{table} PARTITION BY RANGE (id); {parts} {rows}"
        "CREATE TABLE p0 PARTITION OF items FOR VALUES FROM (-9) TO (1)",
    )
    ask(database, "INSERT INTO items SELECT 0, 'common', embedding FROM items WHERE id = 1; ANALYZE items")
    with connect(database) as connection:
        assert use_of(connection).cause is Cause.NO_INDEX
        connection.execute("CREATE INDEX p1_hnsw ON p1 USING hnsw (embedding vector_l2_ops)")
        use = use_of(connection)
        assert use.cause is Cause.NO_INDEX
        assert use.reason.startswith("p1_hnsw alone, and other partitions have none: Seq Scan on p2")
        assert use_of(connection, where="id BETWEEN 1 AND 2499").indexes == ("p1_hnsw",)
        connection.execute(HNSW.format("").encode())
        assert {"p1_hnsw", "p2_embedding_idx"} <= set(use_of(connection).indexes)
