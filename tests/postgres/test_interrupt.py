"""An interrupt or a kill -9 of any command ends its work on the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from local.workspace import ROOT
from pgvector_seed.common.errors import InterruptError
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.lock import LOCK_KEY, locked
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres import interrupt
from pgvector_seed.postgres.connection import connect
from tests.conftest import PASSWORD, Process, ask, declare, pg_variables, until
from tests.migrate.helpers import MARK, applier, run, write
from tests.roles import Names, new_names, quoted

OURS = "FROM pg_stat_activity WHERE application_name = 'pgvector-seed' AND datname = current_database()"
BUSY = f"SELECT pid {OURS} AND state = 'active' AND wait_event IN ('PgSleep', 'relation', 'virtualxid')"
SLEEP = "SELECT pg_sleep(600)"
TABLE = "CREATE TABLE a (v vector(2))"
BUILD = MARK + "CREATE INDEX CONCURRENTLY i ON a USING hnsw (v vector_l2_ops)"


@dataclass(frozen=True)
class Case:
    """A command that runs into a statement without end, and its last line after an interrupt."""

    words: str
    line: str
    prepare: Callable[[str, Path], str | None]  # returns a statement that a transaction of the test's holds


def _apply(_database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE, b2_up=f"CREATE TABLE b (); {SLEEP}", c3_up="SELECT 1")


def _build(database: str, folder: Path) -> str:
    write(folder, a1_up=TABLE)
    run(database, folder)
    write(folder, b2_up=BUILD)
    return "INSERT INTO a VALUES ('[1,2]')"


def _down(database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE, a1_down=f"{SLEEP}; DROP TABLE a", b2_up="SELECT 1", b2_down="SELECT 1")
    run(database, folder)


def _baseline(database: str, folder: Path) -> None:
    ask(database, TABLE)
    write(folder, a1_up=f"{TABLE}; {SLEEP}")


def _repair(database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE)
    run(database, folder)
    write(folder, a1_up=f"{TABLE}; {SLEEP}")


def _sample(database: str, _folder: Path) -> str:
    run(database, ROOT / "migrations")
    return "LOCK TABLE embeddings"


AGAIN = "Run the same command again."
RECORDED = "interrupted: 0001_a is the newest recorded migration"
NEWEST = f"{RECORDED}, and stays; later work was rolled back. {AGAIN}"
NONE = f"interrupted: no migration is recorded; all work was rolled back. {AGAIN}"
BEGUN = f"{RECORDED}; 0002_b.up.sql was begun outside of a transaction. {AGAIN}"
APPLY = "seed migrate apply --directory {}"
CASES = {
    "apply": Case(APPLY, NEWEST, _apply),
    "build": Case(APPLY, BEGUN, _build),
    "down": Case("seed migrate down --to base", NEWEST, _down),
    "baseline": Case("seed migrate baseline 0001_a --directory {}", NONE, _baseline),
    "repair": Case("seed migrate repair 0001_a --directory {}", NEWEST, _repair),
    "sample": Case("seed sample", f"interrupted. {AGAIN}", _sample),
}


@contextmanager
def at_work(case: Case, database: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield the process of a case's command, once the server executes the statement without end."""
    held = case.prepare(database, folder)
    with psycopg.connect(database) as holder:
        if held:
            holder.execute(held.encode())
        with started(database, case.words.format(folder)) as process:
            yield process


@contextmanager
def started(database: str, words: str) -> Iterator[subprocess.Popen[str]]:
    """Yield the process of ``python -m`` with these words, once the server executes the statement without end."""
    with Process(
        [sys.executable, "-m", *words.split()],
        cwd=ROOT,
        env={**os.environ, **pg_variables(database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert until(lambda: process.poll() is not None or ask(database, BUSY)) is not True, process.communicate()[0]
        yield process
        process.kill()


def assert_gone(database: str) -> None:
    """Wait until no session of ours is left, and so no lock."""
    until(lambda: not ask(database, f"SELECT pid {OURS}"))


@pytest.mark.parametrize("name", CASES)
def test_an_interrupt_ends_the_statement_and_says_what_is_on_record(name: str, database: str, folder: Path) -> None:
    with at_work(CASES[name], database, folder) as process:
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
        assert_gone(database)
    assert printed.splitlines()[-1] == CASES[name].line
    assert "Traceback" not in printed
    assert process.returncode == 130


@pytest.mark.parametrize("name", CASES)
def test_a_killed_client_ends_its_statement(name: str, database: str, folder: Path) -> None:
    """Regression: after a kill of its client, the server went on with the statement and its locks."""
    with at_work(CASES[name], database, folder) as process:
        process.kill()
        process.wait()
        assert_gone(database)


@pytest.mark.newest
@pytest.mark.parametrize("cut", [False, True])
def test_the_end_of_a_slow_statement_ends_the_session_that_watches_it(database: str, folder: Path, cut: bool) -> None:
    """An interrupt and a lost connection end as those of a quick statement, without a traceback of the thread."""
    with at_work(CASES["apply"], database, folder) as process:
        until(lambda: ask(database, f"SELECT count(*) {OURS}") == [(2,)])
        if cut:
            ask(database, f"SELECT pg_terminate_backend(pid) {OURS}")
        else:
            process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
        assert_gone(database)
    assert process.returncode == (3 if cut else 130), printed
    assert ("the connection was lost" if cut else NEWEST) in printed
    assert "still running (" in printed
    assert "Traceback" not in printed


def test_an_interrupt_of_a_wait_says_that_nothing_was_run(database: str, folder: Path) -> None:
    """Regression: the message called the other applier's work rolled back."""
    write(folder, a1_up="CREATE TABLE a ()")
    with psycopg.connect(database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with applier(database, folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting for the migration lock, which postgres")
            process.send_signal(signal.SIGINT)
            printed = process.communicate()[0]
    assert (process.returncode, printed) == (130, f"interrupted: nothing was run. {AGAIN}\n")


def slow_to_verify(database: str, folder: Path, names: Names) -> tuple[str, str]:
    """Return the conninfo of a reader whose row policy takes ten minutes, and the command that verifies as it."""
    run(database, ROOT / "migrations")
    reader = quoted(names.reader)
    for statement in (
        f"CREATE ROLE {reader} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT SELECT ON embeddings TO {reader}",
        "CREATE FUNCTION never() RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(600) IS NULL'",
        "CREATE POLICY never ON embeddings USING (never())",
        "ALTER TABLE embeddings ENABLE ROW LEVEL SECURITY",
        "INSERT INTO embeddings (embedding) VALUES ('[1,2,3,4]')",
    ):
        ask(database, statement)
    recall = {"k": 1, "minimum": 0.5}
    table = {"name": "public.embeddings", "id": "id", "vector": "embedding", "metric": "l2", "recall": recall}
    contract = folder / "contract.json"
    contract.write_text(json.dumps({"contract": 1, "tables": [table]}))
    return make_conninfo(database, user=names.reader), f"seed verify --contract {contract}"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_verification_ends_at_the_server(database: str, folder: Path, server: Server, sent: signal.Signals) -> None:
    with new_names(server) as names:
        conninfo, words = slow_to_verify(database, folder, names)
        with started(conninfo, words) as process:
            process.send_signal(sent)
            printed = process.communicate()[0]
            assert_gone(database)
    if sent == signal.SIGINT:
        assert printed.split("\n")[-2:] == [f"interrupted. {AGAIN}", ""]
        assert process.returncode == 130


def test_what_a_migration_changes_or_ends_does_not_stay(database: str, folder: Path) -> None:
    """Each migration starts with the interval in a clean session, also for an index without limits."""
    write(folder, a1_up=f"{TABLE}; SET client_connection_check_interval TO 0; RESET ALL", b2_up=BUILD)
    with connect(database) as connection:
        apply(connection, load(folder), declare(), print)
        assert connection.execute("SHOW client_connection_check_interval").fetchone() == ("1s",)


ON_WINDOWS = """
SET allow_system_table_mods TO on;
CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text STABLE LANGUAGE sql
RETURN 'PostgreSQL 18.0 on x86_64-windows, compiled by msvc-19.44.35213, 64-bit'
"""


def test_a_server_that_cannot_tell_is_not_asked_to(database: str, folder: Path) -> None:
    """The setting is skipped on servers that refuse every value but 0, so that migrations run there."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ON_WINDOWS)
    write(folder, a1_up=TABLE)
    with connect(database) as connection:
        apply(connection, load(folder), declare(), print)
        assert connection.execute("SHOW client_connection_check_interval").fetchone() == ("0",)


def test_an_interrupt_between_sending_and_receiving(database: str) -> None:
    """Regression: the unlock failed on a connection with an unread result, and its error replaced the message."""

    def work() -> None:
        with connect(database) as connection, locked(connection, lambda _line: None):
            connection.pgconn.send_query(b"SELECT 1")
            raise KeyboardInterrupt

    with pytest.raises(InterruptError):
        work()


def test_a_late_request_cancels_nothing_after_the_block(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it canceled the statement that released the lock, and the message of the interrupt was lost."""
    requested, cancel = Event(), psycopg.Connection.cancel_safe

    def cancel_late(connection: psycopg.Connection, timeout: float = 30.0) -> None:
        requested.set()
        time.sleep(0.3)  # as a network may; the delay is the subject of the test
        cancel(connection, timeout=timeout)

    monkeypatch.setattr(interrupt, "_stopped", Event())
    monkeypatch.setattr(psycopg.Connection, "cancel_safe", cancel_late)
    with psycopg.connect(database, autocommit=True) as connection:
        with suppress(InterruptError), interrupt.stoppable(connection):
            interrupt.stop()
            requested.wait()
            interrupt.raise_if_stopped()
        connection.execute("SELECT pg_sleep(0.6)")
