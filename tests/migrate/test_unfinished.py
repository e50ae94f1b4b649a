"""Statements outside of a transaction, such as CREATE INDEX CONCURRENTLY."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError, MigrationError, RefusedError
from pgvector_seed.migrate.adopt import repair
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.lock import locked
from pgvector_seed.migrate.runner import undo
from pgvector_seed.postgres.connection import connect
from seed.verify.source import from_database
from tests.commands import run_seed
from tests.conftest import Process, ask, pg_variables, until
from tests.migrate.helpers import MARK, applied, applier, ledger_of, run, undo_all, write

TABLE = "CREATE TABLE a (id int, v vector(2)); INSERT INTO a VALUES (1, '[1,2]'), (1, '[3,4]')"
BUILD = MARK + "CREATE INDEX CONCURRENTLY i ON a USING hnsw (v vector_l2_ops);"
UNIQUE = MARK + "CREATE UNIQUE INDEX CONCURRENTLY i ON a (id);"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('i')"
BUILDING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND query LIKE '%CREATE INDEX CONCURRENTLY%'"
)


def test_an_index_is_built_and_dropped_concurrently(database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE, a1_down="DROP TABLE a", b2_up=BUILD, b2_down=MARK + "DROP INDEX CONCURRENTLY i")
    ledger, _ = run(database, folder)
    assert ask(database, VALID) == [(True,)]
    assert ledger.contract["tables"][0]["indexes"][0]["name"] == "i"
    assert ledger.unfinished == {}
    undo_all(database)
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


def test_one_may_come_first_of_all(database: str, folder: Path) -> None:
    write(folder, a1_up=MARK + "VACUUM pg_class")
    ledger, messages = run(database, folder)
    assert list(ledger.checksums) == ["0001_a"]
    assert messages[0] == "0001_a runs outside of a transaction"


def test_what_a_failed_build_left_is_cleared_before_the_retry(database: str, folder: Path) -> None:
    """A retry drops the invalid index of a failed build, which takes space and answers nothing."""
    write(folder, a1_up=TABLE, b2_up=UNIQUE)
    for _ in range(2):
        with pytest.raises(MigrationError, match=r"0002_b.up.sql, line 2: could not create unique index"):
            run(database, folder)
        assert ask(database, VALID) == [(False,)]
        assert applied(database) == ["0001_a"]
    ask(database, "DELETE FROM a WHERE v = '[3,4]'")
    _, messages = run(database, folder)
    assert messages[0] == "0002_b.up.sql was interrupted: dropping the invalid index that it left"
    assert ask(database, VALID) == [(True,)]


def test_an_invalid_index_of_somebody_else_is_not_ours_to_drop(database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE)
    run(database, folder)
    with psycopg.connect(database, autocommit=True) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON a (id)")
    write(folder, b2_up=UNIQUE)
    for _ in range(2):
        with pytest.raises(RefusedError, match=r'DROP INDEX CONCURRENTLY "public"\."i"'):
            run(database, folder)
    assert ask(database, VALID) == [(False,)]


def test_an_index_of_that_name_that_was_there_is_told(database: str, folder: Path) -> None:
    """An index that existed before is an error at every try, and is never taken for ours."""
    write(folder, a1_up=TABLE + "; CREATE INDEX i ON a (id)", b2_up=BUILD)
    for _ in range(2):
        with pytest.raises(MigrationError, match="42P07") as caught:
            run(database, folder)
        assert "python -m seed migrate baseline 0002_b" in caught.value.remedy
        ledger = ledger_of(database)
        assert ledger is not None
        assert ledger.unfinished == {}


@contextmanager
def a_waiting_build(database: str, folder: Path) -> Iterator[tuple[psycopg.Connection, int]]:
    """Stop an applier during an index build, as on a machine that sleeps, and kill it at the end.

    Yields the connection whose transaction the build waits for, and the pid of the server process that builds.
    """
    write(folder, a1_up=TABLE)
    run(database, folder)
    write(folder, b2_up=BUILD)
    with psycopg.connect(database) as holder:
        holder.execute("INSERT INTO a VALUES (3, '[5,6]')")
        with applier(database, folder) as process:
            builder = until(lambda: ask(database, BUILDING))[0][0]
            process.send_signal(signal.SIGSTOP)
            yield holder, builder
            process.kill()
    until(lambda: not ask(database, f"SELECT 1 FROM pg_stat_activity WHERE pid = {builder}"))


def finish_and_kill(database: str, folder: Path) -> None:
    """Leave an index that is built and not recorded."""
    with a_waiting_build(database, folder) as (holder, _):
        holder.commit()
        until(lambda: ask(database, VALID) == [(True,)])


def test_an_index_that_was_finished_after_the_kill_is_not_built_again(database: str, folder: Path) -> None:
    finish_and_kill(database, folder)
    built = ask(database, "SELECT oid FROM pg_class WHERE relname = 'i'")
    assert applied(database) == ["0001_a"]
    run(database, folder)
    assert applied(database) == ["0001_a", "0002_b"]
    assert ask(database, "SELECT oid FROM pg_class WHERE relname = 'i'") == built


def test_an_index_that_was_not_is_built_anew(database: str, folder: Path) -> None:
    with a_waiting_build(database, folder) as (holder, builder):
        ask(database, f"SELECT pg_terminate_backend({builder}, 10000)")
        holder.rollback()
    assert ask(database, VALID) == [(False,)]
    run(database, folder)
    assert ask(database, VALID) == [(True,)]
    assert applied(database) == ["0001_a", "0002_b"]


def test_a_drop_that_was_finished_is_not_asked_for_again(database: str, folder: Path) -> None:
    """A drop that was completed, and killed before its record, is not repeated."""
    write(folder, a1_up=TABLE, a1_down="DROP TABLE a", b2_up=BUILD, b2_down=MARK + "DROP INDEX CONCURRENTLY i")
    run(database, folder)
    ask(
        database,
        "UPDATE pgvector_seed.deployment SET unfinished = jsonb_build_object('file', '0002_b.down.sql', 'text', "
        "(SELECT down FROM pgvector_seed.migrations WHERE id = '0002_b'))",
    )
    ask(database, "DROP INDEX i")
    undo_all(database)
    assert ask(database, "SELECT to_regclass('a'), to_regnamespace('pgvector_seed')") == [(None, None)]


def test_one_that_is_not_marked_is_told_how(database: str, folder: Path) -> None:
    write(folder, a1_up=TABLE, b2_up="VACUUM a")
    with pytest.raises(MigrationError, match="25001") as caught:
        run(database, folder)
    assert "-- pgvector-seed: no-transaction" in caught.value.remedy


def test_names_in_other_schemas_and_in_quotes(database: str, folder: Path) -> None:
    write(
        folder,
        a1_up='CREATE SCHEMA "Other s"; CREATE TABLE "Other s"."T x" AS SELECT 1 AS id FROM generate_series(1, 2)',
        b2_up=MARK + 'CREATE UNIQUE INDEX CONCURRENTLY "I é" ON "Other s"."T x" (id)',
    )
    with pytest.raises(MigrationError):
        run(database, folder)
    ask(database, 'DELETE FROM "Other s"."T x"')
    run(database, folder)
    assert ask(database, """SELECT indisvalid FROM pg_index WHERE indexrelid = '"Other s"."I é"'::regclass""") == [
        (True,)
    ]


def interrupted(database: str, folder: Path) -> None:
    """Leave the invalid index of a failed build."""
    write(folder, a1_up=TABLE, b2_up=UNIQUE)
    with pytest.raises(MigrationError):
        run(database, folder)
    assert ask(database, VALID) == [(False,)]


def test_a_repair_in_between_clears_what_was_left(database: str, folder: Path) -> None:
    """A repair after an edit drops the invalid index, as apply refuses the edit."""
    interrupted(database, folder)
    write(folder, a1_up=TABLE + ";")
    with connect(database) as connection:
        repair(connection, load(folder), "public", "0001_a", print)
    assert ask(database, VALID) == []
    ask(database, "DELETE FROM a WHERE v = '[3,4]'")
    run(database, folder)
    assert ask(database, VALID) == [(True,)]


def test_what_was_left_is_cleared_also_when_the_file_was_mended(database: str, folder: Path) -> None:
    """An invalid index is dropped, even if the edited file has another name for it."""
    interrupted(database, folder)
    write(folder, b2_up=MARK + "CREATE INDEX CONCURRENTLY another ON a (id)")
    run(database, folder)
    assert ask(database, "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname IN ('i', 'another')") == [
        ("another",)
    ]


def test_what_was_left_is_cleared_also_when_the_file_is_gone(database: str, folder: Path) -> None:
    interrupted(database, folder)
    (folder / "0002_b.up.sql").unlink()
    run(database, folder)
    assert ask(database, VALID) == []
    ledger = ledger_of(database)
    assert ledger is not None
    assert ledger.unfinished == {}


def test_what_was_left_is_cleared_also_by_an_undo(database: str, folder: Path) -> None:
    interrupted(database, folder)
    write(folder, a1_down="DROP TABLE a")
    with connect(database) as connection:
        repair(connection, load(folder), "public", "0001_a", print)
        undo(connection, [], "public", "base", print)
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


def test_an_index_that_was_finished_is_not_taken_for_another(database: str, folder: Path) -> None:
    """A built, unrecorded index is replaced after an edit, even under IF NOT EXISTS."""
    finish_and_kill(database, folder)
    write(folder, b2_up=MARK + "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (id)")
    with pytest.raises(RefusedError, match=r'DROP INDEX CONCURRENTLY "public"\."i"'):
        run(database, folder)
    write(folder, b2_up=BUILD)
    run(database, folder)
    assert applied(database) == ["0001_a", "0002_b"]


def test_a_name_that_the_server_cuts_short(database: str, folder: Path) -> None:
    """The invalid index is found under its name in the catalog, which is cut to 63 bytes."""
    name = "n" * 82
    write(folder, a1_up=TABLE, b2_up=MARK + f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON a (id)")
    with pytest.raises(MigrationError):
        run(database, folder)
    with pytest.raises(MigrationError, match="could not create unique index"):
        run(database, folder)
    ask(database, "DELETE FROM a WHERE v = '[3,4]'")
    run(database, folder)
    assert ask(database, f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{name[:63]}'::regclass") == [(True,)]


def test_appliers_that_wait_do_not_stop_the_build(database: str, folder: Path) -> None:
    """Appliers wait between statements: a build would wait for one inside a statement, and deadlock."""
    write(folder, a1_up=TABLE + "; INSERT INTO a SELECT n, ARRAY[n, n]::vector FROM generate_series(1, 3000) n")
    write(folder, b2_up=BUILD)
    processes = [applier(database, folder) for _ in range(4)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert "".join(outputs).count("0002_b applied") == 1


def test_what_others_made_after_a_failure_is_not_taken_for_ours(database: str, folder: Path) -> None:
    """A non-unique index that a user created after the failure is not taken for the unique one."""
    interrupted(database, folder)
    ask(database, "DROP INDEX i")
    ask(database, "CREATE INDEX i ON a (id)")
    with pytest.raises(MigrationError, match="42P07"):
        run(database, folder)
    assert applied(database) == ["0001_a"]


def test_a_failure_that_left_nothing_is_forgotten(database: str, folder: Path) -> None:
    """A failed build without an index is not recorded, so a later index of that name stays."""
    write(folder, a1_up=TABLE, b2_up=MARK + "CREATE INDEX CONCURRENTLY i ON a (nope)")
    with pytest.raises(MigrationError, match="42703"):
        run(database, folder)
    ledger = ledger_of(database)
    assert ledger is not None
    assert ledger.unfinished == {}


def interrupted_drop(database: str, folder: Path) -> None:
    """Run a down whose server process is ended while it drops an index."""
    write(folder, a1_up=TABLE, a1_down="DROP TABLE a", b2_up=BUILD, b2_down=MARK + "DROP INDEX CONCURRENTLY i")
    run(database, folder)
    with psycopg.connect(database) as holder:
        holder.execute("SELECT * FROM a")
        command = [sys.executable, "-m", "seed", "migrate", "down", "--to", "0001_a"]
        environment = {**os.environ, **pg_variables(database)}
        with Process(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as down:
            waiting = BUILDING.replace("CREATE", "DROP")
            ask(database, f"SELECT pg_terminate_backend({until(lambda: ask(database, waiting))[0][0]}, 10000)")
            down.communicate()
        assert down.returncode == 3
    assert ask(database, VALID) == [(False,)]


def test_an_interrupted_drop_is_not_forgotten(database: str, folder: Path) -> None:
    """Apply refuses to run after an interrupted drop, and a second down finishes it."""
    interrupted_drop(database, folder)
    for _ in range(2):
        with pytest.raises(RefusedError, match="interrupted while it dropped an index"):
            run(database, folder)
    with connect(database) as connection:
        assert undo(connection, [], "public", "0001_a", print) == ["0002_b"]
    run(database, folder)
    assert ask(database, VALID) == [(True,)]


def test_a_repair_with_a_finished_build_that_is_not_recorded(database: str, folder: Path) -> None:
    """A repair accepts a built index that is not recorded, as apply refuses the edit."""
    finish_and_kill(database, folder)
    write(folder, a1_up=TABLE + ";")
    with connect(database) as connection:
        assert repair(connection, load(folder), "public", "0001_a", print)
    run(database, folder)
    assert applied(database) == ["0001_a", "0002_b"]


def test_an_edited_down_after_an_interrupted_drop_does_not_lock_out(database: str, folder: Path) -> None:
    interrupted_drop(database, folder)
    write(folder, b2_down=MARK + "DROP INDEX CONCURRENTLY IF EXISTS i")
    with pytest.raises(RefusedError, match="interrupted while it dropped an index"):
        run(database, folder)
    with connect(database) as connection:
        assert undo(connection, [], "public", "0001_a", print) == ["0002_b"]


def test_a_repair_after_an_interrupted_drop(database: str, folder: Path) -> None:
    """A repair finishes the drop, and compares the result."""
    write(folder, a1_up=TABLE, b2_up=BUILD)
    run(database, folder)
    write(folder, c3_up=MARK + "DROP INDEX CONCURRENTLY i")
    with psycopg.connect(database) as holder:
        holder.execute("SELECT * FROM a")
        with applier(database, folder) as process:
            pid = until(lambda: ask(database, BUILDING.replace("CREATE", "DROP")))[0][0]
            ask(database, f"SELECT pg_terminate_backend({pid}, 10000)")
            process.communicate()
    write(folder, a1_up=TABLE + ";")
    with connect(database) as connection:
        assert repair(connection, load(folder), "public", "0001_a", print)
    run(database, folder)
    assert applied(database) == ["0001_a", "0002_b", "0003_c"]


@pytest.mark.parametrize(
    ("words", "code"), [(("migrate", "status"), 0), (("migrate", "plan"), 0), (("verify", "--only", "ledger"), 1)]
)
def test_a_build_that_runs_is_told_with_its_process(
    database: str, folder: Path, words: tuple[str, ...], code: int
) -> None:
    """Regression: another shell called a running build "not recorded as done", and advised to apply it."""

    def told() -> str:
        place = ["--directory", str(folder)] if words[0] == "migrate" else []
        done = run_seed(*words, *place, environment={**os.environ, **pg_variables(database)})
        assert done.returncode == code, done.stdout
        return done.stdout

    with a_waiting_build(database, folder) as (_, builder):
        output = told()
        assert f"0002_b.up.sql is running, in server process {builder}\n" in output
        assert "Wait until it has ended" in output
    output = told()
    assert "0002_b.up.sql was begun and is not recorded as done\n" in output
    assert "python -m seed migrate apply" in output


def test_a_first_run_is_told_by_verify(database: str) -> None:
    """While the first migrations run there is no contract, and nobody is told to deploy."""
    told = pytest.raises(InputError, match=r"no contract yet: server process \d+ is migrating it")
    with connect(database) as holder, connect(database) as connection, locked(holder, lambda _: None), told:
        from_database(connection)
