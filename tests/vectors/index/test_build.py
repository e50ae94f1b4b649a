"""Building, replacing and dropping an index on a real server."""

from __future__ import annotations

import json
import os
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from pgvector_seed.common.errors import InputError, RefusedError, WrongResultError
from pgvector_seed.postgres import watch
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.machine import is_on_this_machine
from pgvector_seed.vectors.index import memory
from pgvector_seed.vectors.index.build import build_index, drop_index
from pgvector_seed.vectors.index.memory import estimate_memory, lists_for, plan_settings
from pgvector_seed.vectors.index.rows import LeftOut
from tests.conftest import DISKANN, ask, until
from tests.conftest import WAITING as WAITING_FOR_LOCK
from tests.vectors.helpers import build, define, indexes, make_table, start_build, state

NAME = "items_v_hnsw"
ALONE = [(NAME, True)]
WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
    "AND pg_blocking_pids(pid) = '{{{}}}'"
)
QUERY = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM items ORDER BY v <=> (SELECT v FROM items WHERE id = %s) LIMIT 5"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report slow statements at once."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"m": 8, "ef_construction": 40}},
        {"cast": "halfvec", "metric": "ip"},
        {"bits": True, "metric": "l2"},
        {"bits": True, "metric": "jaccard"},
        {"method": "ivfflat"},
        {"method": "ivfflat", "metric": "l2", "parameters": {"lists": 5}},
        {"method": "diskann"},
    ],
    ids=str,
)
def test_an_index_is_replaced_by_the_declared_one_and_stays(database: str, changes: dict[str, Any]) -> None:
    ask(database, DISKANN)
    make_table(database, 500)
    assert build(database, define())[0]
    assert state(database, define(**changes)).kind == "differs"
    done, lines = build(database, define(**changes))
    assert done
    assert f"public.{NAME}: replaced" in lines
    assert indexes(database) == ALONE
    assert state(database, define(**changes)).kind == "ready"
    assert build(database, define(**changes)) == (False, [])


def test_left_out_parameters_start_no_rebuild(database: str) -> None:
    make_table(database, 300)
    build(database, define(method="ivfflat", parameters={"lists": 7}))
    assert build(database, define(method="ivfflat")) == (False, [])
    build(database, define(parameters={"m": 8}))
    assert build(database, define()) == (False, [])
    assert state(database, define(parameters={"m": 16})).differences == ["m is 8, not 16"]
    ask(database, f"DROP INDEX {NAME}; CREATE INDEX {NAME} ON items USING hnsw (v vector_cosine_ops)")
    assert build(database, define(parameters={"m": 16, "ef_construction": 64})) == (False, [])


def test_lists_follow_the_rows(database: str) -> None:
    """Also those of a table that was never analyzed."""
    make_table(database, 4500, dimensions=3)
    build(database, define(method="ivfflat"))
    assert ask(database, f"SELECT reloptions FROM pg_class WHERE relname = '{NAME}'") == [(["lists=4"],)]


def test_rows_that_the_index_leaves_out_are_counted(database: str) -> None:
    make_table(database, 10, dimensions=3)
    ask(database, "INSERT INTO items VALUES (11, NULL), (12, NULL), (13, '[0,0,0]')")
    _, lines = build(database, define())
    expected = "2 rows without a vector and 1 row with a zero vector will not be found through the index"
    assert lines[0] == f"public.{NAME}: {expected}"
    assert state(database, define(), count_rows=True).left_out == LeftOut(2, 1)
    assert state(database, define(metric="l2"), count_rows=True).left_out == LeftOut(2, 0)


@pytest.mark.parametrize(
    ("type_", "changes", "message"),
    [
        ("vector(2001)", {}, r"at most 2,000 dimensions of vector, .* has 2,001\. Use an index with as: halfvec"),
        ("vector(4001)", {"method": "ivfflat"}, r"at most 2,000 .* Use an index with bits: true \(64,000\)"),
        ("vector(4001)", {"cast": "halfvec"}, "at most 4,000 dimensions of halfvec.*bits: true"),
        ("halfvec(4001)", {}, "at most 4,000 dimensions of halfvec.*bits: true"),
        ("vector", {}, "the column items.v has no dimensions"),
        (
            "vector(3)",
            {"method": "ivfflat", "metric": "l1"},
            "ivfflat has no operator class for l1 on vector",
        ),
        ("vector(3)", {"method": "gin"}, "the access method gin has no operator class for cosine on vector"),
        ("vector(3)", {"method": "hsnw"}, r"the access method hsnw does not exist; did you mean hnsw\?"),
        ("sparsevec(3)", {"bits": True}, "bits are of vector or halfvec, not of sparsevec"),
        ("vector(3)", {"name": "n" * 60}, "more than 59 bytes"),
        ("vector(3)", {"column": "w"}, "the table public.items has no column w"),
        ("vector(3)", {"table": "a"}, "the table public.a does not exist"),
    ],
)
@pytest.mark.newest
def test_an_index_that_cannot_be_built_is_refused_first(
    database: str, type_: str, changes: dict[str, Any], message: str
) -> None:
    ask(database, f"CREATE TABLE items (id bigint PRIMARY KEY, v {type_})")
    with pytest.raises(InputError, match=message):
        build(database, define(**changes))
    assert indexes(database) == []


@pytest.mark.newest
def test_a_sparsevec_with_too_many_elements_is_refused(database: str) -> None:
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, v sparsevec(5000))")
    many = "'{' || string_agg(d || ':1', ',') || '}/5000'"
    ask(database, f"INSERT INTO items SELECT 1, ({many})::sparsevec FROM generate_series(1, 1001) d")
    with pytest.raises(InputError, match="at most 1,000 elements that are not zero, and a row has 1,001"):
        build(database, define())
    ask(database, "DELETE FROM items")
    assert build(database, define())[0]


@pytest.mark.newest
def test_a_login_without_the_right_is_refused(database: str) -> None:
    make_table(database, 10)
    ask(database, "DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'p'")
    try:
        with pytest.raises(InputError, match="the role poor cannot index the table items: it is owned by postgres"):
            build(make_conninfo(database, user="poor", password="p"), define())
    finally:
        ask(database, "DROP ROLE poor")


@pytest.mark.parametrize("suffix", ["", "_new", "_old"])
@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ("INDEX {} ON others (v)", "an index on another table, public.others"),
        ("INDEX {} ON items (id)", "an index on another column of public.items"),
        ("TABLE {} ()", "a relation of another kind"),
    ],
)
@pytest.mark.newest
def test_a_name_that_another_relation_has_is_refused(database: str, suffix: str, made: str, fault: str) -> None:
    """Nothing is built or dropped, though it is invalid."""
    make_table(database, 10)
    ask(database, "CREATE TABLE others (v int)")
    ask(database, "CREATE " + made.format(NAME + suffix))
    ask(database, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{NAME}{suffix}'::regclass")
    with pytest.raises(RefusedError, match=f"public.{NAME}{suffix} is {fault}"):
        build(database, define())
    assert ask(database, f"SELECT to_regclass('{NAME}{suffix}') IS NOT NULL") == [(True,)]
    assert not any(valid for name, valid in indexes(database) if name == f"{NAME}_new")


@pytest.mark.parametrize("name", ["n" * 59, "é" * 29 + "n", 'odd "name" %s'])
@pytest.mark.newest
def test_long_and_odd_names(database: str, name: str) -> None:
    """The longest has 63 bytes with its suffix."""
    ask(database, 'CREATE SCHEMA "a b%"; CREATE TABLE "a b%"."c ""%" (id int, "user %" vector(3))')
    values = {"schema": "a b%", "table": 'c "%', "name": name, "column": "user %"}
    for changes in ({}, {"parameters": {"m": 8}}, {"cast": "halfvec"}, {"bits": True}):
        assert build(database, define(**values, **changes))[0]
        assert state(database, define(**values, **changes)).kind == "ready"
    with connect(database) as connection:
        assert drop_index(connection, "a b%", 'c "%', name, print)
        assert not drop_index(connection, "a b%", 'c "%', name, print)
    assert ask(database, 'SELECT 1 FROM pg_index WHERE indrelid = \'"a b%"."c ""%"\'::regclass') == []


def test_drop_takes_the_leftovers_but_no_other_tables_index(database: str) -> None:
    make_table(database, 10)
    ask(database, "CREATE TABLE others (v int)")
    for suffix in ("", "_new"):
        ask(database, f"CREATE INDEX {NAME}{suffix} ON items USING hnsw (v vector_l2_ops)")
    ask(database, f"CREATE INDEX {NAME}_old ON others (v)")
    lines: list[str] = []
    with connect(database) as connection:
        assert drop_index(connection, "public", "items", NAME, lines.append)
    assert f"public.{NAME}_old is not an index of this table, and stays" in lines
    assert indexes(database) == []
    assert ask(database, f"SELECT to_regclass('{NAME}_old') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("suffix", ["", "_new", "_old"])
@pytest.mark.parametrize("column", ["v", None])
@pytest.mark.newest
def test_drop_refuses_an_index_on_another_column(database: str, suffix: str, column: str | None) -> None:
    """Nothing is dropped, not even the index of the declared column."""
    make_table(database, 10)
    ask(database, f"CREATE INDEX {NAME}{suffix} ON items (id)")
    other = NAME if suffix else f"{NAME}_new"
    ask(database, f"CREATE INDEX {other} ON items USING hnsw (v vector_l2_ops)")
    with connect(database) as connection:
        with pytest.raises(RefusedError, match=f"the index public.{NAME}{suffix} cannot order by a distance"):
            drop_index(connection, "public", "items", NAME, print, column=column)
        assert indexes(database) == [(other, True)]
        connection.execute(f"DROP INDEX {NAME}{suffix}".encode())
        assert drop_index(connection, "public", "items", NAME, print, column=column)
    assert indexes(database) == []


@pytest.mark.newest
def test_drop_refuses_an_index_of_another_vector_column(database: str) -> None:
    make_table(database, 10)
    ask(database, f"ALTER TABLE items ADD w vector(3); CREATE INDEX {NAME} ON items USING hnsw (w vector_l2_ops)")
    with connect(database) as connection:
        with pytest.raises(RefusedError, match=f"the index public.{NAME} is not on the column v"):
            drop_index(connection, "public", "items", NAME, print, column="v")
        assert drop_index(connection, "public", "items", NAME, print)


@pytest.mark.newest
def test_drop_takes_an_invalid_index(database: str) -> None:
    make_table(database, 10)
    ask(database, f"CREATE INDEX {NAME} ON items USING hnsw (v vector_l2_ops)")
    ask(database, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{NAME}'::regclass")
    with connect(database) as connection:
        assert drop_index(connection, "public", "items", NAME, print, column="v")
    assert indexes(database) == []


@pytest.mark.newest
def test_an_index_that_another_session_made_meanwhile_stays(database: str) -> None:
    """Regression: the build that found its name taken dropped the index of the other table."""
    make_table(database, 10)
    ask(database, "CREATE TABLE orders (id int)")
    with psycopg.connect(database) as blocker:
        blocker.execute("ANALYZE items; LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE")

        def take_name() -> None:
            until(lambda: ask(database, WAITING.format(blocker.info.backend_pid)))
            ask(database, f"CREATE INDEX {NAME}_new ON orders (id)")
            blocker.commit()

        other = Thread(target=take_name)
        other.start()
        with pytest.raises(WrongResultError, match="already exists"):
            build(database, define())
        other.join()
    assert ask(database, f"SELECT to_regclass('{NAME}_new') IS NOT NULL") == [(True,)]


@pytest.mark.newest
def test_a_build_that_left_nothing_reports_no_drop(database: str) -> None:
    make_table(database, 10)
    lines: list[str] = []
    with pytest.raises(WrongResultError, match="no_such"):
        build(database, define(parameters={"no_such": 1}), lines)
    assert not any("dropping" in line for line in lines), lines


@pytest.mark.parametrize(
    "made", ["INDEX {} ON others (v)", "INDEX {} ON items (id)", "TABLE {} ()"], ids=["table", "column", "kind"]
)
@pytest.mark.newest
def test_a_foreign_relation_of_the_name_differs_and_is_not_an_interrupted_build(database: str, made: str) -> None:
    make_table(database, 10)
    ask(database, "CREATE TABLE others (v int)")
    ask(database, "CREATE " + made.format(NAME))
    ask(database, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{NAME}'::regclass")
    assert state(database, define()).kind == "differs"


def test_settings_are_of_the_session_and_restored(database: str) -> None:
    make_table(database, 10)
    with connect(database) as connection:
        connection.execute("SET statement_timeout TO '1h'; SET maintenance_work_mem TO '1048kB'")
        connection.execute("SET min_parallel_table_scan_size TO 7")
        query = "SELECT name, setting, source FROM pg_settings WHERE name !~ '[.]' ORDER BY 1"
        before = connection.execute(query).fetchall()
        assert build_index(connection, define(), print)
        assert connection.execute(query).fetchall() == before


@pytest.mark.newest
def test_the_memory_that_the_client_set_is_kept(database: str) -> None:
    make_table(database, 2000)
    options = "-c maintenance_work_mem=1MB -c max_parallel_maintenance_workers=0"
    _, lines = build(make_conninfo(database, options=options), define(), memory_bytes=1 << 30)
    assert lines[0].endswith(
        "needs about 2 MB; maintenance_work_mem 1 MB, 0 workers; it does not fit: set indexMemory (--memory) to 2 MB"
    )


@pytest.mark.newest
def test_a_graph_that_does_not_fit_is_told_before_and_while_it_is_built(database: str) -> None:
    make_table(database, 4000, dimensions=64)
    _, lines = build(database, define(), memory_bytes=1 << 20)
    assert "maintenance_work_mem 1 MB, " in lines[0]
    assert lines[0].endswith("; it does not fit: set indexMemory (--memory) to 5 MB")
    notice = next(number for number, line in enumerate(lines) if "NOTICE: hnsw graph no longer fits" in line)
    assert any(line.startswith("  remedy: set indexMemory (--memory) to ") for line in lines[notice:]), lines
    lines = build(database, define(parameters={"m": 8}), memory_bytes=5 << 20)[1]
    assert not any("fit" in line for line in lines), lines


@pytest.mark.newest
def test_without_shared_memory_the_index_is_built_without_workers(database: str) -> None:
    """The memory of the workers is that of the build, and taken at once. Also if the client asked for them."""
    workers = 1
    shared = os.statvfs("/dev/shm")
    size = 2 * shared.f_frsize * shared.f_blocks // (1 << 20)
    make_table(database, 2000)
    options = f"-c maintenance_work_mem={size}MB -c max_parallel_maintenance_workers={workers}"
    _, lines = build(make_conninfo(database, options=options), define())
    assert any("trying again without workers, after: could not resize shared memory" in line for line in lines), lines
    assert "maintenance_work_mem" in lines[-3]
    assert lines[-3].endswith(", 0 workers")
    assert indexes(database) == ALONE


@pytest.mark.newest
def test_a_full_disk_leaves_nothing_behind(database: str, server: Server) -> None:
    """The old index serves, and the space of the unfinished one is free again."""
    if os.geteuid() != 0 or os.system("mount -t tmpfs -o size=1m tmpfs /mnt 2> /dev/null") != 0:  # noqa: S605
        pytest.skip("a small disk cannot be mounted")
    make_table(database, 4000, dimensions=64)
    build(database, define(parameters={"m": 4}))
    lines: list[str] = []
    try:
        owner = server.home.stat()
        os.chown("/mnt", owner.st_uid, owner.st_gid)
        ask(database, "CREATE TABLESPACE small LOCATION '/mnt'")
        on_small = make_conninfo(database, options="-c default_tablespace=small")
        with pytest.raises(Exception, match=r"SQLSTATE 53100.*Free some space on the server's disk"):
            build(on_small, define(parameters={"m": 16}), lines)
        assert not any("trying again" in line for line in lines)
        assert indexes(database) == ALONE
        assert state(database, define(parameters={"m": 4})).kind == "ready"
        ask(database, "CHECKPOINT")
        assert ask(database, "SELECT pg_tablespace_size('small') < 100000") == [(True,)]
        assert build(database, define(parameters={"m": 16}))[0]
    finally:
        ask(database, "DROP TABLESPACE IF EXISTS small")
        os.system("umount -l /mnt")  # noqa: S605


def test_replacement_under_eight_clients(database: str) -> None:
    """No query fails, and an index answers each."""
    make_table(database, 3000)
    build(database, define())
    ended, faults, counts = Event(), [], [0] * 8

    def read(number: int) -> None:
        try:
            with psycopg.connect(database, autocommit=True) as connection:
                while not ended.is_set():
                    ((plan,),) = connection.execute(QUERY, (1 + counts[number] % 3000,)).fetchall()
                    if NAME not in json.dumps(plan):
                        faults.append(plan)
                    counts[number] += 1
        except psycopg.Error as error:
            faults.append(error)

    readers = [Thread(target=read, args=(number,)) for number in range(8)]
    for reader in readers:
        reader.start()
    try:
        until(lambda: all(counts))
        before = sum(counts)
        for m in (8, 16):
            assert build(database, define(parameters={"m": m}))[0]
        assert sum(counts) > before
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert faults == []
    assert indexes(database) == ALONE


def test_two_runs_at_once(database: str) -> None:
    """The second one waits, and finds the index built."""
    make_table(database, 3000)
    with psycopg.connect(database) as writer:
        writer.execute("INSERT INTO items VALUES (9999)")
        processes = [start_build(database, define()) for _ in range(2)]
        until(
            lambda: ask(database, "SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for writers%'")
        )
        building = state(database, define())
        assert (building.kind, building.pid is not None) == ("building", True)
        until(lambda: ask(database, WAITING_FOR_LOCK))
        writer.rollback()
        outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    waited = [output for output in outputs if f"waiting for the lock of the index public.{NAME}, which " in output]
    assert len(waited) == 1, outputs
    assert "building" not in waited[0]
    assert indexes(database) == ALONE


def test_two_indexes_of_one_table_at_once(database: str) -> None:
    make_table(database, 800)
    definitions = [define(name=f"i{number}", metric="l2") for number in range(3)]
    processes = [start_build(database, definition) for definition in definitions]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert indexes(database) == [("i0", True), ("i1", True), ("i2", True)]


def test_a_build_by_hand_is_waited_for(database: str) -> None:
    make_table(database, 1000)
    ready = define(name="ready", metric="l2")
    build(database, ready)
    hand = "CREATE INDEX CONCURRENTLY {}_new ON items USING hnsw (v vector_cosine_ops)".format(NAME)  # noqa: UP032
    with psycopg.connect(database) as writer:
        writer.execute("INSERT INTO items VALUES (9999)")
        builder = Thread(target=ask, args=(database, hand))
        builder.start()
        until(lambda: len(indexes(database)) > 1)
        assert build(database, ready) == (False, [])  # a build of another index is not waited for

        def report(line: str) -> None:
            lines.append(line)
            writer.rollback()

        lines: list[str] = []
        with connect(database) as connection:
            assert build_index(connection, define(), report)
        builder.join()
    assert lines[0].startswith(f"public.{NAME}: waiting for the build of an index by postgres (")
    assert lines[1:] == [f"public.{NAME}: ready"]


@pytest.mark.usefixtures("impatient")
def test_an_old_transaction_is_named(database: str) -> None:
    make_table(database, 100)
    lines: list[str] = []
    with psycopg.connect(database, application_name="the reader") as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")

        def report(line: str) -> None:
            lines.append(line)
            if "waiting" in line:
                reader.rollback()

        with connect(database) as connection:
            assert build_index(connection, define(), report)
    waiting = f"public.{NAME}_new: building: waiting for a lock of postgres (the reader, "
    assert any(line.startswith(waiting) for line in lines), lines


def test_a_lock_that_is_held_blocks_no_query_and_is_named(database: str) -> None:
    """The rename waits for it in short turns: a query would wait behind it."""
    make_table(database, 100)
    build(database, define())
    lines: list[str] = []
    with psycopg.connect(database, application_name="the holder") as holder:
        holder.execute(f"COMMENT ON INDEX {NAME} IS 'mine'")

        def report(line: str) -> None:
            lines.append(line)
            if "waiting" in line:
                ask(
                    database,
                    "SET statement_timeout TO '5s'; SELECT id FROM items ORDER BY v <=> array_fill(1::real, "
                    "ARRAY[16])::vector LIMIT 1; INSERT INTO items VALUES (1000)",
                )
                holder.rollback()

        with connect(database) as connection:
            assert build_index(connection, define(parameters={"m": 8}), report)
    assert any(line.startswith(f"public.{NAME}: waiting for a lock of postgres (the holder, ") for line in lines), lines
    assert indexes(database) == ALONE


@pytest.mark.usefixtures("impatient")
@pytest.mark.newest
def test_a_locked_table_is_waited_for_and_named(database: str) -> None:
    make_table(database, 100)
    lines: list[str] = []
    with psycopg.connect(database, application_name="the holder") as holder:
        holder.execute("LOCK TABLE items")

        def report(line: str) -> None:
            lines.append(line)
            holder.rollback()

        with connect(database) as connection:
            assert build_index(connection, define(), report)
    assert lines[0].startswith(f"public.{NAME}: counting the rows: waiting for a lock of postgres (the holder, "), lines
    assert indexes(database) == ALONE


@pytest.mark.newest
def test_a_remote_server_keeps_its_memory_unless_it_is_given_more(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have less memory than this machine. No test has a server on another machine."""
    with connect(database) as connection:
        local = plan_settings(connection, 100 << 20, None)
        assert is_on_this_machine(connection)
        monkeypatch.setattr(memory, "is_on_this_machine", lambda _connection: False)
        remote = plan_settings(connection, 100 << 20, None)
        limited = plan_settings(connection, 100 << 20, 200 << 20)
        assert plan_settings(connection, 300 << 20, 200 << 20).memory == 200 << 20
    assert local.memory >= 100 << 20
    assert (remote.memory, remote.workers) == (64 << 20, 2)
    assert (limited.memory, limited.workers) == (100 << 20, 2)


def test_memory_is_estimated_by_method() -> None:
    assert estimate_memory("hnsw", 100_000, 4 * 768 + 8, {}) == round(100_000 * (3080 + 210 + 32 * 16) * 1.2)
    assert [lists_for(rows) for rows in (0, 1999, 1_000_000, 4_000_000)] == [1, 1, 1000, 2000]
    assert estimate_memory("diskann", 1000, 12, {}) is None


@pytest.mark.newest
def test_the_memory_of_ivfflat_is_enough_and_not_much_more(database: str) -> None:
    """The server refuses a build without the memory for k-means."""
    make_table(database, 3000, dimensions=64)
    definition = define(method="ivfflat", parameters={"lists": 500})
    needed = estimate_memory("ivfflat", 3000, 64 * 4 + 8, {"lists": 500})
    assert needed
    with pytest.raises(WrongResultError, match="memory required is"):
        build(database, definition, memory_bytes=round(needed * 0.85))
    assert build(database, definition, memory_bytes=needed)[0]
