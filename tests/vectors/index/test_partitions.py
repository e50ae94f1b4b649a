"""The index of a partitioned table."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.build import build_index, drop_index
from pgvector_seed.vectors.index.partitions import part_names
from tests.conftest import ask, name_of, until
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.vectors.helpers import build, define, indexes, insert, start_build, state

NAME = "items_v_hnsw"
TABLES = """
CREATE TABLE items (id bigint, v vector(16)) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (200);
CREATE TABLE middle PARTITION OF items FOR VALUES FROM (200) TO (400) PARTITION BY RANGE (id);
CREATE TABLE middle_1 PARTITION OF middle FOR VALUES FROM (200) TO (300);
CREATE TABLE middle_2 PARTITION OF middle FOR VALUES FROM (300) TO (400);
CREATE TABLE high PARTITION OF items FOR VALUES FROM (400) TO (10000)
"""
PARTS = ("high", "low", "middle", "middle_1", "middle_2")
NEW = define(parameters={"m": 8})
ATTACHED = (
    f"SELECT c.relname FROM pg_partition_tree('{NAME}') t JOIN pg_index i ON i.indexrelid = t.relid "
    "JOIN pg_class c ON c.oid = i.indrelid WHERE i.indisvalid ORDER BY 1"
)
PROCESS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgvector-seed' AND datname = current_database()"
BUILDS = PROCESS + " AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND pg_blocking_pids(pid) = '{{{}}}'"
LATER = "CREATE TABLE later PARTITION OF items FOR VALUES FROM (10000) TO (20000)"


@pytest.fixture
def table(database: str) -> str:
    """Return a database with a partitioned table, one partition of which has partitions."""
    ask(database, TABLES)
    insert(database, 1, 1000)
    return database


def is_complete(database: str, *more: str) -> bool:
    """Return True if each partition has its index, and there is no other."""
    names = {name for name, valid in indexes(database) if valid}
    is_alone = len(indexes(database)) == len(names) == len(PARTS) + len(more) + 1
    return is_alone and ask(database, ATTACHED) == [(part,) for part in sorted(("items", *PARTS, *more))]


def test_an_index_is_built_replaced_and_dropped(table: str) -> None:
    """Also twice: the names of the partitions' indexes are free again."""
    assert state(table, define()).kind == "absent"
    for m in (16, 8, 4, 16):
        definition = define(parameters={"m": m})
        assert build(table, definition)[0]
        assert is_complete(table)
        assert state(table, definition).kind == "ready"
        assert build(table, definition) == (False, [])
    size = state(table, define()).bytes
    assert size > 1000 * 16 * 4
    ask(table, LATER)
    assert build(table, define()) == (False, [])
    assert is_complete(table, "later")
    with connect(table) as connection:
        assert drop_index(connection, "public", "items", NAME, print)
        assert not drop_index(connection, "public", "items", NAME, print)
    assert indexes(table) == []


def test_an_index_of_one_partition_that_differs_is_replaced(table: str) -> None:
    """A partition may be attached with an index of its own."""
    build(table, NEW)
    ask(table, "CREATE TABLE own (LIKE items); CREATE INDEX own_v ON own USING hnsw (v vector_cosine_ops) WITH (m = 5)")
    ask(table, "ALTER TABLE items ATTACH PARTITION own FOR VALUES FROM (10000) TO (20000)")
    assert state(table, NEW).differences == ["own_v: m is 5, not 8"]
    assert build(table, NEW)[0]
    assert is_complete(table, "own")


@pytest.mark.newest
def test_each_partition_gets_the_memory_for_its_rows(table: str) -> None:
    """Regression: all had the memory of the first one, as if the client had set it."""
    insert(table, 1001, 5000)
    ask(table, f"ALTER DATABASE {name_of(table)} SET maintenance_work_mem TO '1MB'")
    without_workers = make_conninfo(table, options="-c max_parallel_maintenance_workers=0")
    _, lines = build(without_workers, define(parameters={"m": 4}))
    memory = [line.split("; ")[2] for line in lines if "needs" in line]
    assert memory == [f"maintenance_work_mem {size} MB, 0 workers" for size in (3, 1, 1, 1)]


@pytest.mark.parametrize("victim", ["client", "server process"])
@pytest.mark.newest
def test_a_killed_build_goes_on(table: str, victim: str) -> None:
    """The partitions that have their index keep it, and one that is added meanwhile gets its own."""
    build(table, define())
    with psycopg.connect(table) as blocker:
        blocker.execute("INSERT INTO low VALUES (1)")  # the second of the partitions, in the order of their names
        process = start_build(table, NEW)
        pid = until(lambda: ask(table, BUILDS.format(blocker.info.backend_pid)))[0][0]
        building = state(table, NEW)
        assert (building.kind, building.pid) == ("building", pid)
        if victim == "client":
            process.kill()
        else:
            ask(table, f"SELECT pg_terminate_backend({pid})")
        process.communicate()
        until(lambda: not ask(table, PROCESS))
        blocker.rollback()
    ask(table, LATER)
    assert (f"{NAME}_low_2", False) in indexes(table)
    done, lines = build(table, NEW)
    assert done
    assert not any(f"{NAME}_high" in line for line in lines), lines
    assert is_complete(table, "later")


@pytest.mark.newest
def test_what_a_killed_build_left_goes_if_the_definition_returns(table: str) -> None:
    build(table, define(parameters={"m": 16}))
    with psycopg.connect(table) as blocker:
        blocker.execute("INSERT INTO low VALUES (1)")
        process = start_build(table, NEW)
        until(lambda: ask(table, BUILDS.format(blocker.info.backend_pid)))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        until(lambda: not ask(table, PROCESS))
        blocker.rollback()
    assert build(table, define(parameters={"m": 16}))[0]
    assert is_complete(table)


def test_long_readers_delay_the_change_and_block_no_query(table: str) -> None:
    """Attaching the last index, and dropping the old one, lock all partitions: each waits in short turns."""
    build(table, define())
    lines: list[str] = []
    with psycopg.connect(table, application_name="the reader") as reader:
        reader.execute("SELECT FROM items LIMIT 1")

        def report(line: str) -> None:
            lines.append(line)
            if "waiting" in line:
                ask(table, "SET statement_timeout TO '5s'; SELECT count(*) FROM items; INSERT INTO items VALUES (1)")
                reader.rollback()
            if "replaced" in line:
                reader.execute("SELECT FROM items LIMIT 1")

        started = time.monotonic()
        with connect(table) as connection:
            assert build_index(connection, NEW, report)
    assert time.monotonic() - started < 20
    waiting = f"public.{NAME}: waiting for a lock of postgres (the reader, "
    assert [line.startswith(waiting) for line in lines].count(True) == 2, lines
    assert is_complete(table)


@pytest.mark.newest
def test_an_index_of_a_partition_on_another_column_stays(table: str) -> None:
    """Its name is one that a build gives; the other name is taken for the build."""
    ask(table, f"CREATE INDEX {NAME}_low_1 ON low (id)")
    stays = f"SELECT 1 FROM pg_indexes WHERE indexname = '{NAME}_low_1'"
    assert build(table, define())[0]
    assert ask(table, stays)
    assert build(table, define()) == (False, [])
    with connect(table) as connection:
        assert drop_index(connection, "public", "items", NAME, print, column="v")
        assert not drop_index(connection, "public", "items", NAME, print)
    assert ask(table, stays)
    assert indexes(table) == []


@pytest.mark.newest
def test_a_foreign_partition_is_refused(table: str) -> None:
    ask(table, "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none")
    ask(table, "CREATE FOREIGN TABLE away PARTITION OF items FOR VALUES FROM (10000) TO (20000) SERVER far")
    with pytest.raises(InputError, match="the partition away is a foreign table"):
        build(table, define())


def test_names_of_partitions_are_short_and_different() -> None:
    names = [
        *part_names("n" * 59, "p"),
        *part_names("n" * 59, "q"),
        *part_names("é" * 29, "é" * 31),
        *part_names("a", "b"),
    ]
    assert all(len(name.encode()) <= 63 for name in names)
    assert len(set(names)) == len(names)
    assert names[-2:] == ["a_b_1", "a_b_2"]
