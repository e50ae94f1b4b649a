"""Kills and restarts at each step of a build: the next run ends with the declared index alone."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from itertools import islice

import psycopg
import pytest

from local.server import Server
from tests.conftest import TEMPLATE, ask, conninfo, kill, new_server, remove, tries, until
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.vectors.helpers import build, define, indexes, make_table, start_build, state

pytestmark = pytest.mark.newest

NAME = "items_v_hnsw"
ALONE = [(NAME, True)]
NEW = define(parameters={"m": 8})
# The open transaction of another session, for which the build waits at a step. CREATE INDEX CONCURRENTLY waits for
# writers, then for snapshots; the drop for any lock on the table; the rename for a lock on the index.
BLOCKERS = {
    "before the build": "INSERT INTO items VALUES (9999)",
    "after the build": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    "the rename": f"COMMENT ON INDEX {NAME} IS 'held'",
    "the drop": "SELECT FROM items LIMIT 1",
}
# An index as the kill left it.
LEFT = {
    "before the build": [(NAME, True), (f"{NAME}_new", False)],
    "after the build": [(NAME, True), (f"{NAME}_new", False)],
    "the rename": [(NAME, True), (f"{NAME}_new", True)],
    "the drop": [(NAME, True), (f"{NAME}_old", False)],
}
BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgvector-seed' AND datname = current_database() "
# For this session, and not for an instant for another one's snapshot.
WAITS = BACKEND + "AND query LIKE '{} INDEX%' AND pg_blocking_pids(pid) = '{{{}}}'"
ENDED = f"SELECT count(*) = 0 FROM ({BACKEND}) AS build"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that the tests of this file may kill."""
    server = new_server(tmp_path_factory.mktemp("server"), 18)
    yield server
    remove(server)


@pytest.fixture
def table(own: Server) -> str:
    """Return a database with a table whose index has another definition."""
    database = conninfo(own, TEMPLATE)
    ask(database, "DROP TABLE IF EXISTS items")
    make_table(database, 500)
    build(database, define())
    return database


@pytest.mark.parametrize("step", BLOCKERS)
@pytest.mark.parametrize("victim", ["client", "server process", "server"])
def test_kill_9_at_each_step(own: Server, table: str, victim: str, step: str) -> None:
    with psycopg.connect(table) as blocker:
        blocker.execute(BLOCKERS[step])
        process = start_build(table, NEW)
        assert process.stdout
        if step == "the rename":
            line = next(line for line in process.stdout if "waiting for a lock" in line)
            assert f"public.{NAME}: waiting for a lock of" in line
        else:
            verb = "DROP" if step == "the drop" else "CREATE"
            until(lambda: ask(table, WAITS.format(verb, blocker.info.backend_pid)))
        pid = ask(table, BACKEND + "ORDER BY backend_start LIMIT 1")[0][0]
        if victim == "server":
            kill(own)
        else:
            os.kill(process.pid if victim == "client" else pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode != 0
        if victim == "client":
            until(lambda: ask(table, ENDED) == [(True,)])  # the server sees within a second that the client is gone
            blocker.rollback()
        else:
            blocker.close()
    if victim == "server":
        own.start()
    until(lambda: answers(table))
    assert indexes(table) == LEFT[step]
    assert state(table, NEW).kind == ("ready" if step == "the drop" else "differs")
    assert state(table, NEW).leftovers
    assert build(table, NEW)[0]
    assert indexes(table) == ALONE
    assert state(table, NEW).kind == "ready"
    assert build(table, NEW) == (False, [])


def answers(database: str) -> bool:
    """Return True if the server accepts a login again."""
    try:
        return bool(ask(database, "SELECT 1"))
    except psycopg.OperationalError:
        return False


def test_kill_9_at_random_moments(table: str) -> None:
    dice, done = random.Random(7), 0
    for number in range(tries(4, soak=150)):
        definition = define(parameters={"m": 4 + number % 2 * 4})
        with start_build(table, definition) as process:
            assert process.stdout
            for _line in islice(process.stdout, dice.randint(1, 3)):
                pass
            process.kill()
        until(lambda: ask(table, ENDED) == [(True,)])
        done += build(table, definition)[0]
        assert indexes(table) == ALONE
        assert state(table, definition).kind == "ready"
    assert done, "no kill was in the middle"


def test_ctrl_c_ends_the_build_and_the_next_run_goes_on(table: str) -> None:
    with psycopg.connect(table) as reader:
        reader.execute(BLOCKERS["after the build"])
        with start_build(table, NEW) as process:
            until(lambda: ask(table, WAITS.format("CREATE", reader.info.backend_pid)))
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0]
    assert f"the index public.{NAME} is not finished. Run the same command again." in output
    assert build(table, NEW)[0]
    assert indexes(table) == ALONE


def test_a_killed_drop_is_completed(table: str) -> None:
    """An index that is half dropped serves no query, and is built again."""
    with psycopg.connect(table) as reader:
        reader.execute(BLOCKERS["the drop"])
        dropping = psycopg.connect(table, autocommit=True)
        dropping.execute("SET client_connection_check_interval = '100ms'")
        pid = dropping.info.backend_pid
        dropping.pgconn.send_query(f"DROP INDEX CONCURRENTLY {NAME}".encode())
        waits = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'"
        until(lambda: ask(table, waits))
        ask(table, f"SELECT pg_terminate_backend({pid})")
        dropping.close()
    assert state(table, define()).kind == "invalid"
    assert build(table, define())[0]
    assert indexes(table) == ALONE
    assert state(table, define()).kind == "ready"
