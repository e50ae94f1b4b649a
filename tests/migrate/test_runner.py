"""The migration engine on real servers."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError, MigrationError, RefusedError, WrongResultError
from pgvector_seed.migrate.compare import objects
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import LOCK_KEY
from pgvector_seed.migrate.runner import apply, preview
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare, tries
from tests.migrate.helpers import MARK, applied, applier, run, undo_all, write


def test_the_articles_migration_makes_the_articles_table(database: str) -> None:
    ledger, messages = run(database, ROOT / "migrations")
    assert [line.split(" in ")[0] for line in messages] == ["0001_create_embeddings applied"]
    columns = ask(
        database,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'public.embeddings'::regclass AND attnum > 0",
    )
    assert columns == [("id", "integer"), ("embedding", "vector(4)")]
    assert ledger.checksums == {migration.id: migration.checksum for migration in load(ROOT / "migrations")}


def test_a_second_run_does_nothing(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))")
    first, _ = run(database, folder)
    second, messages = run(database, folder)
    assert (second, messages) == (first, [])


def test_a_preview_tells_what_apply_would_do_and_changes_nothing(database: str, folder: Path) -> None:
    write(folder, a1_up="SELECT 1", b2_up="SELECT 2")
    with connect(database) as connection:
        pending = preview(connection, load(folder), declare())
    assert (pending.ledger, pending.plan.apply, pending.nothing_to_do) == (None, ("0001_a", "0002_b"), False)
    assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]
    run(database, folder)
    with connect(database) as connection:
        assert preview(connection, load(folder), declare()).nothing_to_do
        revised = declare(on_destroy="revert")
        assert preview(connection, load(folder), revised).declaration_changes


@pytest.mark.parametrize(
    ("name", "value"), [("on_destroy", None), ("schema", 5), ("tables", {"a": {"metric": "l3"}}), ("roles", object())]
)
def test_a_declaration_that_no_reader_would_take_is_refused_before_it_is_written(
    database: str, folder: Path, name: str, value: Any
) -> None:
    """Regression: an invalid declaration was committed, and the ledger was damaged from then on."""
    write(folder, a1_up="SELECT 1")
    unreadable = msgspec.structs.replace(declare(), **{name: value})
    with connect(database) as connection, pytest.raises(InputError, match="the declaration cannot be recorded"):
        apply(connection, load(folder), unreadable, print)
    assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]
    before, _ = run(database, folder)
    write(folder, b2_up="CREATE TABLE b ()")
    with connect(database) as connection, pytest.raises(InputError):
        apply(connection, load(folder), unreadable, print)
    with connect(database) as connection:
        assert read_ledger(connection) == before


def test_a_failing_migration_keeps_what_came_before_it(database: str, folder: Path) -> None:
    """Migrations before the failed one stay recorded; sql_migrate records none and runs them again."""
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b ();\nSELECT 1;\nSELECT nope;", c3_up="SELECT 3")
    with pytest.raises(MigrationError) as caught:
        run(database, folder)
    assert str(caught.value).startswith('0002_b.up.sql, line 3: column "nope" does not exist (SQLSTATE 42703)')
    with connect(database) as connection:
        ledger = read_ledger(connection)
    assert ledger is not None
    assert list(ledger.checksums) == ["0001_a"]
    assert ledger.contract == {}, "nothing is promised while a migration is missing"
    assert ask(database, "SELECT to_regclass('a'), to_regclass('b')") == [("a", None)]
    write(folder, b2_up="CREATE TABLE b ()")
    ledger, messages = run(database, folder)
    assert [line.split()[0] for line in messages] == ["0002_b", "0003_c"]
    assert [migration["id"] for migration in ledger.contract["ledger"]["migrations"]] == ["0001_a", "0002_b", "0003_c"]


def test_a_migration_and_its_record_are_done_together_or_not_at_all(database: str, folder: Path) -> None:
    """A failure to record a migration rolls the migration back."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    ask(database, "ALTER TABLE pgvector_seed.migrations ADD CHECK (id <> '0002_b')")
    write(folder, b2_up="CREATE TABLE b ()")
    with pytest.raises(WrongResultError, match="violates check constraint"):
        run(database, folder)
    assert ask(database, "SELECT to_regclass('b')") == [(None,)]
    ask(database, "CREATE RULE kept AS ON DELETE TO pgvector_seed.migrations DO INSTEAD SELECT 1 / 0")
    with pytest.raises(WrongResultError, match="division by zero"):
        undo_all(database)
    assert ask(database, "SELECT to_regclass('a')") == [("a",)]


def test_a_failing_migration_that_is_taken_away_leaves_a_contract(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))", b2_up="nonsense")
    with pytest.raises(MigrationError):
        run(database, folder)
    (folder / "0002_b.up.sql").unlink()
    ledger, _ = run(database, folder)
    assert [table["name"] for table in ledger.contract["tables"]] == ["public.a"]


def test_a_first_migration_that_fails_leaves_nothing_behind(database: str, folder: Path) -> None:
    write(folder, a1_up="nonsense")
    with pytest.raises(MigrationError):
        run(database, folder, declare("new schema"))
    assert ask(database, "SELECT nspname FROM pg_namespace WHERE nspname IN ('pgvector_seed', 'new schema')") == []


def test_tables_that_are_there_without_a_ledger_are_left_alone(database: str, folder: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE a AS SELECT 1 AS kept")
    write(folder, a1_up="CREATE TABLE a ()")
    with pytest.raises(MigrationError) as caught:
        run(database, folder)
    assert "42P07" in str(caught.value)
    assert "python -m seed migrate baseline 0001_a" in caught.value.remedy
    assert ask(database, "SELECT kept FROM a") == [(1,)]


def test_a_schema_that_exists_is_no_reason_for_a_baseline(database: str, folder: Path) -> None:
    """Regression: the remedy was `baseline`, which refuses CREATE SCHEMA."""
    write(folder, a1_up="CREATE SCHEMA other")
    ask(database, "CREATE SCHEMA other")
    with pytest.raises(MigrationError, match="42P06") as caught:
        run(database, folder)
    assert "CREATE SCHEMA IF NOT EXISTS" in caught.value.remedy
    assert "baseline" not in caught.value.remedy


def test_a_down_that_makes_what_exists_is_not_told_to_record_it(database: str, folder: Path) -> None:
    """Regression: the remedy was to record the migration that was being undone."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="CREATE TABLE a ()")
    run(database, folder)
    with pytest.raises(MigrationError, match="42P07") as caught:
        undo_all(database, folder)
    assert "Fix the file" in caught.value.remedy


def test_edited_history_is_refused_and_nothing_is_run(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    write(folder, a1_up="CREATE TABLE a (b int)", b2_up="CREATE TABLE b ()")
    with pytest.raises(RefusedError, match="0001_a was edited"):
        run(database, folder)
    assert ask(database, "SELECT to_regclass('b')") == [(None,)]


def test_another_schema_than_the_deployments_is_refused(database: str, folder: Path) -> None:
    """A changed schema is refused: the ledger would hide that the new schema has no tables."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    with pytest.raises(RefusedError, match="config set schema public"):
        run(database, folder, declare("other"))


def test_names_that_need_quoting(new_database: Callable[..., str], folder: Path) -> None:
    """Tables land in the deployment's schema, also if the extension is in another one."""
    conninfo = new_database("template0", name='odd "name"; --')
    with psycopg.connect(conninfo) as connection:
        connection.execute('CREATE SCHEMA "ext Schema"; CREATE EXTENSION vector SCHEMA "ext Schema"')
    write(folder, a1_up='CREATE TABLE "My Table" (id int PRIMARY KEY, "V" vector(3))', a1_down='DROP TABLE "My Table"')
    ledger, _ = run(conninfo, folder, declare('my "schema"', tables={"My Table": {"rows": 1}}))
    assert ledger.contract["tables"] == [
        {
            "name": '"my ""schema"""."My Table"',
            "id": "id",
            "vector": "V",
            "type": "vector",
            "dimensions": 3,
            "owner": "postgres",
            "rows": 1,
            "indexes": [],
        }
    ]
    assert ledger.contract["extension"]["schema"] == "ext Schema"
    undo_all(conninfo, schema='my "schema"')
    assert ask(conninfo, "SELECT count(*) FROM pg_namespace WHERE nspname IN ('my \"schema\"', 'pgvector_seed')") == [
        (0,)
    ]


def test_the_contract_is_what_the_catalogue_said_with_the_last_migration(database: str, folder: Path) -> None:
    """A later change by hand does not enter the contract."""
    write(
        folder,
        a1_up="CREATE TABLE a (id bigint PRIMARY KEY, v vector(3)); "
        "CREATE INDEX h ON a USING hnsw (v vector_cosine_ops) WITH (m = 8, ef_construction = 32)",
    )
    run(database, folder)
    with psycopg.connect(database) as connection:
        connection.execute("DROP INDEX h; CREATE TABLE by_hand (v vector(3))")
    ledger, _ = run(
        database, folder, declare(on_destroy="revert", connection={"host": "db"}, tables={"a": {"rows": 9}})
    )
    assert ledger.declaration.on_destroy == "revert"
    assert ledger.contract["connection"] == {"host": "db"}
    (table,) = ledger.contract["tables"]
    assert (table["rows"], table["metric"]) == (9, "cosine")
    assert table["indexes"] == [{"name": "h", "method": "hnsw", "parameters": {"m": 8, "ef_construction": 32}}]


def test_without_the_extension_the_message_says_how_to_get_it(empty_database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    with pytest.raises(InputError, match="CREATE EXTENSION vector"):
        run(empty_database, folder)


def test_revert_runs_the_recorded_downs_newest_first(database: str, folder: Path) -> None:
    """The recorded downs run even if the files were removed or changed."""
    write(folder, a1_up="CREATE TABLE a (v vector(3))", a1_down="DROP TABLE a")
    write(folder, b2_up="CREATE VIEW b AS SELECT * FROM a", b2_down="DROP VIEW b")
    run(database, folder)
    shutil.rmtree(folder)
    assert [line.split()[0] for line in undo_all(database)] == ["0002_b", "0001_a"]
    assert ask(database, "SELECT to_regclass('a'), to_regnamespace('pgvector_seed')") == [(None, None)]
    assert undo_all(database) == []


def test_revert_refuses_before_it_runs_anything(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b ()", b2_down="DROP TABLE b")
    run(database, folder)
    with pytest.raises(RefusedError, match="0001_a"):
        undo_all(database)
    assert ask(database, "SELECT to_regclass('b')") == [("b",)]


def test_a_down_that_fails_is_not_recorded_as_done(database: str, folder: Path) -> None:
    """A failed down is an error and stays recorded; sql_migrate records success."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    write(folder, b2_up="CREATE TABLE b ()", b2_down="DROP TABLE b; DROP TABLE nope")
    run(database, folder)
    with pytest.raises(MigrationError, match=r"0002_b.down.sql"):
        undo_all(database)
    assert ask(database, "SELECT id FROM pgvector_seed.migrations ORDER BY 1") == [("0001_a",), ("0002_b",)]
    assert ask(database, "SELECT to_regclass('b')") == [("b",)]


def test_a_down_of_what_was_dropped_by_hand_can_be_run_again(database: str, folder: Path) -> None:
    """Regression: it advised to fix the file, although the file was right, and to apply what was undone again."""
    write(folder, a1_up="CREATE TABLE a (i int); CREATE INDEX a_i ON a (i)", a1_down="DROP INDEX a_i; DROP TABLE a")
    run(database, folder)
    ask(database, "DROP INDEX a_i")
    with pytest.raises(MigrationError) as refused:
        undo_all(database)
    assert refused.value.remedy.startswith("If it was dropped by hand, make it again, and run the same command again.")
    ask(database, "CREATE INDEX a_i ON a (i)")
    undo_all(database)
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


def test_an_edited_down_takes_effect(database: str, folder: Path) -> None:
    """An edited down replaces the recorded one, so that a typo can be corrected."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABL a")
    run(database, folder)
    with pytest.raises(MigrationError) as caught:
        undo_all(database)
    assert "python -m seed migrate apply, which records the new down" in caught.value.remedy
    write(folder, a1_down="DROP TABLE a")
    _, messages = run(database, folder)
    assert messages == ["0001_a: the edited down is recorded"]
    undo_all(database)
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


def test_a_half_way_revert_promises_nothing(database: str, folder: Path) -> None:
    """After a failed revert the contract names none of the dropped tables."""
    write(folder, a1_up="CREATE TABLE a (v vector(3))", a1_down="DROP TABLE nope")
    write(folder, b2_up="CREATE TABLE b (v vector(3))", b2_down="DROP TABLE b")
    run(database, folder)
    with pytest.raises(MigrationError):
        undo_all(database)
    for way in ("up", "down"):
        (folder / f"0002_b.{way}.sql").unlink()
    ledger, _ = run(database, folder)
    assert [table["name"] for table in ledger.contract["tables"]] == ["public.a"]


def test_revert_keeps_a_schema_that_others_use(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder, declare("shared"))
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE shared.theirs ()")
    undo_all(database, schema="shared")
    assert ask(database, "SELECT to_regclass('shared.theirs')") == [("shared.theirs",)]


@pytest.mark.newest
def test_eight_appliers_at_once_run_each_migration_once(database: str, folder: Path) -> None:
    for number in range(1, 6):
        (folder / f"000{number}_a.up.sql").write_text(f"CREATE TABLE t{number} ()")
    processes = [applier(database, folder) for _ in range(8)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert sorted(line.split()[0] for line in "".join(outputs).splitlines() if " applied in " in line) == [
        f"000{number}_a" for number in range(1, 6)
    ]


def test_who_holds_the_lock_is_named_while_one_waits(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    with psycopg.connect(database, application_name="the holder") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        process = applier(database, folder)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(
            "waiting for the migration lock, which postgres (the holder, 127.0.0.1"
        )
    assert "0001_a applied" in process.communicate()[0]


def everything(conninfo: str) -> object:
    """Return the schema and the ledger, without the values that differ between two runs."""
    with connect(conninfo) as connection, connection.transaction():
        made = objects(connection, "public", "public")
        ledger = read_ledger(connection)
    assert ledger is not None
    assert not ledger.unfinished
    promise = {key: value for key, value in ledger.contract.items() if key != "ledger"}
    return made, ledger.checksums, promise


@pytest.mark.newest
@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.rest)])
def test_an_applier_that_was_stopped_is_continued(
    new_database: Callable[..., str], folder: Path, sent: signal.Signals
) -> None:
    """An apply that follows a stop at a random moment of 20 migrations ends as an uninterrupted one.

    The message of an interrupt is true at any moment, also while the server commits.
    """
    numbers = range(1, 21)
    for number in numbers:
        text = f"CREATE TABLE t{number} AS SELECT pg_sleep(0.01)::text, '[1,2]'::vector(2) AS v"
        if number % 5 == 0:
            text = f"{MARK}CREATE INDEX CONCURRENTLY i{number} ON t{number - 1} USING hnsw (v vector_l2_ops)"
        (folder / f"{number:04}_a.up.sql").write_text(text)
    uninterrupted = new_database()
    run(uninterrupted, folder)
    dice, interrupted = random.Random(8), 0
    for _ in range(tries(10, soak=100)):
        conninfo = new_database()
        with applier(conninfo, folder) as process:
            assert process.stdout is not None
            lines = dice.randrange(len(numbers))
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(dice.uniform(0, 0.02))  # the moment is the subject of the test
            process.send_signal(sent)
            printed = process.communicate()[0]
        if sent == signal.SIGINT and lines:  # before, it may meet Python's own start
            assert process.returncode in (0, 130), printed
        if "recorded" in printed:
            interrupted += 1
            assert f"interrupted: {(applied(conninfo) or ['no migration'])[-1]} is " in printed
        run(conninfo, folder)
        assert everything(conninfo) == everything(uninterrupted)
    assert interrupted or sent == signal.SIGKILL
