"""Declared tables that neither the database nor the SQL that is about to run has: refused before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import ApplyOptions, preview
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare
from tests.migrate.helpers import applied, ledger_of, run, write

ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3))"
# Ways to make the table docs, with its name in the text.
NAMED = {
    "plain": "CREATE TABLE docs (e vector(3))",
    "capitals": "CREATE TABLE DOCS (e vector(3))",
    "quoted": 'CREATE TABLE "docs" (e vector(3))',
    "schema": "CREATE TABLE public.docs (e vector(3))",
    "block": "DO $$ BEGIN CREATE TABLE docs (e vector(3)); END $$",
    "function": (
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; END;"
        "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TABLE docs (e vector(3)); END';"
        "SELECT f()"
    ),
    "format": "DO $$ BEGIN EXECUTE format('CREATE TABLE %I (e vector(3))', 'docs'); END $$",
    "like": "CREATE TABLE t (e vector(3)); CREATE TABLE docs (LIKE t)",
    "rename": "CREATE TABLE t (e vector(3)); ALTER TABLE t RENAME TO docs",
    "path": (
        "CREATE SCHEMA s; SET search_path = s, public; CREATE TABLE docs (e vector(3)); "
        "ALTER TABLE docs SET SCHEMA public"
    ),
    "select into": "SELECT '[1,2,3]'::vector(3) AS e INTO docs",
    "composed": "DO $$ BEGIN EXECUTE 'CREATE TABLE do' || 'cs (e vector(3))'; END $$",
    "escaped": 'CREATE TABLE U&"d\\006fcs" (e vector(3))',
}


@pytest.mark.parametrize("statement", NAMED.values(), ids=list(NAMED))
def test_a_table_that_a_pending_migration_makes_is_not_refused(database: str, folder: Path, statement: str) -> None:
    write(folder, a1_up=statement)
    ledger, _ = run(database, folder, declare(tables={"docs": {"rows": 1}}))
    assert [table["name"] for table in ledger.contract["tables"] if "docs" in table["name"]] == ["public.docs"]


@pytest.mark.parametrize(
    "routine",
    [
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TABLE docs (e vector(3)); END'",
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE TABLE ' || NEW.name || "
            "' (e vector(3))'; RETURN NEW; END $$;"
            "CREATE TABLE tenants (name text); CREATE TRIGGER t BEFORE INSERT ON tenants FOR EACH ROW "
            "EXECUTE FUNCTION f();"
            "CREATE FUNCTION make() RETURNS void LANGUAGE sql AS $$ INSERT INTO tenants VALUES ('do' || 'cs') $$"
        ),
    ],
    ids=["function", "trigger"],
)
def test_a_table_that_an_older_routine_makes_is_not_refused(database: str, folder: Path, routine: str) -> None:
    write(folder, a1_up=routine)
    run(database, folder)
    write(folder, b2_up="SELECT make()")
    run(database, folder, declare(tables={"docs": {"rows": 1}}))


def test_a_table_of_a_schema_that_gets_the_declared_name_is_not_refused(database: str, folder: Path) -> None:
    ask(database, "CREATE SCHEMA app; CREATE SCHEMA new; CREATE TABLE new.docs (e vector(3))")
    write(folder, a1_up="ALTER SCHEMA app RENAME TO old; ALTER SCHEMA new RENAME TO app")
    run(database, folder, declare("app", tables={"docs": {"rows": 1}}))


def test_a_name_that_the_server_cuts_off_is_found(database: str, folder: Path) -> None:
    write(folder, a1_up=f"CREATE TABLE {'n' * 70} (e vector(3))")
    run(database, folder, declare(tables={"n" * 63: {"rows": 1}}))


@pytest.mark.parametrize("name", ["My Table", 'a"b', "ä.b", "select", "$x"])
def test_an_odd_name_is_found_as_it_is_quoted(database: str, folder: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    write(folder, a1_up=f"CREATE TABLE {quoted} (e vector(3))")
    run(database, folder, declare(tables={name: {"rows": 1}}))


def refusal(database: str, folder: Path, name: str, **declared: Any) -> str:
    """Return the error of ``apply`` for a declared table. Asserts that ``preview`` has it, too, and nothing was run."""
    before, declaration = applied(database), declare(tables={name: {"rows": 1}}, **declared)
    with connect(database) as connection, pytest.raises(InputError) as previewed:
        preview(connection, load(folder), declaration)
    with pytest.raises(InputError) as refused:
        run(database, folder, declaration)
    assert str(refused.value) == str(previewed.value)
    assert applied(database) == before
    return str(refused.value)


@pytest.mark.parametrize("name", ["itmes", "item", "items_2", "docs"])
def test_a_table_that_nothing_has_is_refused_before_anything_is_run(database: str, folder: Path, name: str) -> None:
    """Regression: all migrations but the last were applied first."""
    write(folder, a1_up=ITEMS, b2_up="CREATE TABLE others (e vector(3))")
    words = refusal(database, folder, name)
    assert f"the stack declares the table {name}" in words
    assert "pending migration" in words
    assert "the key tables of the configuration" in words
    assert "pulumi config" not in words
    assert ledger_of(database) is None


def test_a_table_of_an_applied_migration_must_still_be_there(database: str, folder: Path) -> None:
    """Only the SQL that is about to run counts, and the nearest table is suggested."""
    write(folder, a1_up=ITEMS)
    run(database, folder)
    run(database, folder, declare(tables={"items": {"rows": 1}}))
    assert "did you mean items?" in refusal(database, folder, "itmes")
    write(folder, b2_up="ALTER TABLE items RENAME TO docs")
    run(database, folder)
    write(folder, c3_up="SELECT 1")
    refusal(database, folder, "items")


def test_a_table_in_another_schema_is_not_meant(database: str, folder: Path) -> None:
    ask(database, "CREATE SCHEMA other; CREATE TABLE other.docs (e vector(3))")
    write(folder, a1_up=ITEMS)
    refusal(database, folder, "docs")


def test_a_table_that_an_undone_migration_gives_back(database: str, folder: Path) -> None:
    write(folder, a1_up=ITEMS, a1_down="DROP TABLE items", b2_up="DROP TABLE items", b2_down=ITEMS)
    run(database, folder)
    (folder / "0002_b.up.sql").unlink()
    (folder / "0002_b.down.sql").unlink()
    run(database, folder, declare(tables={"items": {"rows": 1}}), ApplyOptions(allow_down=True))
    assert applied(database) == ["0001_a"]


def test_a_table_that_was_dropped_by_hand_stops_nothing(database: str, folder: Path) -> None:
    """If there is no migration to run, the drift is left to verify, as before."""
    write(folder, a1_up=ITEMS)
    declaration = declare(tables={"items": {"rows": 1}})
    run(database, folder, declaration)
    ask(database, "DROP TABLE items")
    run(database, folder, declaration)
    run(database, folder, declare(tables={"items": {"rows": 2}}))
