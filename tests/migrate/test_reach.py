"""A migration changes its own objects, and not the ledger."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.adopt import baseline
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import apply, undo
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare, name_of
from tests.migrate.helpers import applied, ledger_of, run, write

TOUCH = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$; "
CHANGES = [
    "DELETE FROM pgvector_seed.migrations",
    """UPDATE "pgvector_seed" . "deployment" SET contract = '{}'""",
    "SET search_path TO pgvector_seed; INSERT INTO migrations VALUES ('0003_c', 3, 'x', '', now(), '0', '', '')",
    "DO $$ BEGIN EXECUTE 'UPDATE pgvector_' || 'seed.migrations SET down = NULL'; END $$",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql RETURN NULL; DROP FUNCTION f; TRUNCATE pgvector_seed.migrations",
    "SET ROLE pg_write_all_data; UPDATE pgvector_seed.migrations SET down = NULL",
    "ALTER TABLE pgvector_seed.migrations ADD note text",
    "ALTER TABLE pgvector_seed.migrations ADD CHECK (id <> '0002_b')",
    "CREATE INDEX ON pgvector_seed.migrations (down)",
    "DROP TABLE pgvector_seed.deployment",
    "DROP SCHEMA pgvector_seed CASCADE",
    "ALTER SCHEMA pgvector_seed RENAME TO other",
    "CREATE TABLE pgvector_seed.mine ()",
    "CREATE VIEW pgvector_seed.mine AS SELECT 1",
    "CREATE TABLE b (id text REFERENCES pgvector_seed.migrations)",
    TOUCH.format("") + "CREATE TRIGGER t AFTER INSERT ON pgvector_seed.migrations EXECUTE FUNCTION touch()",
    TOUCH.format("DELETE FROM pgvector_seed.migrations;")
    + "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
    "EXECUTE FUNCTION touch(); INSERT INTO a DEFAULT VALUES",
]
NO_CHANGES = [
    "-- DELETE FROM pgvector_seed.migrations\nSELECT 'UPDATE pgvector_seed.deployment', 1 AS pgvector_seed",
    "CREATE TABLE b AS SELECT * FROM pgvector_seed.migrations",
    "CREATE VIEW b AS SELECT id FROM pgvector_seed.migrations",
    "GRANT USAGE ON SCHEMA pgvector_seed TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed TO PUBLIC",
    "ANALYZE",
    "COMMENT ON TABLE pgvector_seed.migrations IS 'ours'",
    "DO $$ BEGIN DELETE FROM pgvector_seed.migrations; RAISE division_by_zero; EXCEPTION WHEN others THEN NULL; END $$",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_migration_that_changes_the_ledger_is_refused(database: str, folder: Path, change: str) -> None:
    """Regression: a migration could edit the history that it becomes a part of."""
    write(folder, a1_up="CREATE TABLE a ()")
    before, _ = run(database, folder)
    write(folder, b2_up=change)
    with pytest.raises(RefusedError, match=r"0002_b.up.sql changes the ledger") as caught:
        run(database, folder)
    assert "python -m seed migrate --help" in caught.value.remedy
    assert ledger_of(database) == before


@pytest.mark.parametrize("text", NO_CHANGES)
def test_a_migration_may_name_and_read_the_ledger(database: str, folder: Path, text: str) -> None:
    write(folder, a1_up="CREATE TABLE a ()", b2_up="SELECT 1")
    run(database, folder)
    write(folder, c3_up=text)
    run(database, folder)
    assert applied(database) == ["0001_a", "0002_b", "0003_c"]


def test_a_serializable_transaction_may_read_the_ledger(database: str, folder: Path) -> None:
    """Regression: predicate locks, which outlive their transaction, were taken for a change of the ledger."""
    ask(database, f"ALTER DATABASE {name_of(database)} SET default_transaction_isolation TO serializable")
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b AS SELECT id FROM pgvector_seed.migrations")
    run(database, folder)
    write(folder, c3_up="CREATE TABLE c ()", d4_up="CREATE TABLE d ()")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM a")
        run(database, folder)
    assert len(applied(database)) == 4


def test_migrations_run_in_a_transaction_of_the_callers(database: str, folder: Path) -> None:
    """Regression: the record of one migration was taken for a change of the ledger by the next."""
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b ()")
    with psycopg.connect(database) as connection:
        apply(connection, load(folder), declare(), print)
    assert applied(database) == ["0001_a", "0002_b"]


def test_a_serializable_comparison_may_read_other_schemas(database: str, folder: Path) -> None:
    ask(database, f"ALTER DATABASE {name_of(database)} SET default_transaction_isolation TO serializable")
    write(folder, a1_up="CREATE TABLE a AS SELECT n FROM other.numbers")
    ask(database, "CREATE SCHEMA other; CREATE TABLE other.numbers (n int); CREATE TABLE a (n int)")
    with connect(database) as connection:
        baseline(connection, load(folder), declare(), "0001_a", print)


def test_a_down_that_changes_the_ledger_is_refused(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a; DELETE FROM pgvector_seed.migrations")
    run(database, folder)
    with connect(database) as connection, pytest.raises(RefusedError, match=r"0001_a.down.sql changes the ledger"):
        undo(connection, load(folder), "public", "base", print)
    assert applied(database) == ["0001_a"]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE SCHEMA pgvector_seed; CREATE TABLE pgvector_seed.mine ()",
        "CREATE SCHEMA pgvector_seed",
    ],
)
def test_the_first_migration_does_not_make_the_ledger(database: str, folder: Path, change: str) -> None:
    write(folder, a1_up=change)
    with pytest.raises(RefusedError, match=r"0001_a.up.sql changes the ledger"):
        run(database, folder)
    assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]


def test_the_first_migration_finds_no_ledger_to_change(database: str, folder: Path) -> None:
    """The ledger is created after the statements, in the same transaction."""
    exists = "to_regclass('pgvector_seed.migrations') IS NOT NULL AS ledger_exists"
    write(folder, a1_up=f"CREATE TABLE a AS SELECT {exists}", b2_up=f"INSERT INTO a SELECT {exists}")
    run(database, folder)
    assert ask(database, "SELECT ledger_exists FROM a ORDER BY 1") == [(False,), (True,)]
