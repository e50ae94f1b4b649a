"""Roles that may write to the ledger, and the parts of it that are trusted nevertheless."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from local.workspace import ROOT
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import as_role
from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables
from tests.migrate.helpers import MARK, applied, ledger_of, run, undo_all, write

ATTACK = "UPDATE pgvector_seed.migrations SET down = 'DROP TABLE a; ALTER ROLE mallory SUPERUSER'"
IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'"
# Ways in which a role gets the right to write to the ledger, and its first statement.
WAYS = {
    "granted": (
        "GRANT USAGE ON SCHEMA pgvector_seed TO mallory; GRANT SELECT, UPDATE ON pgvector_seed.migrations TO mallory",
        "",
    ),
    "granted a column": (
        "GRANT USAGE ON SCHEMA pgvector_seed TO mallory; GRANT UPDATE (down) ON pgvector_seed.migrations TO mallory",
        "",
    ),
    "granted to all": (
        "GRANT USAGE ON SCHEMA pgvector_seed TO PUBLIC; GRANT UPDATE ON pgvector_seed.migrations TO PUBLIC",
        "",
    ),
    "all data": ("GRANT pg_write_all_data TO mallory", ""),
    "all data, not inherited": (
        "GRANT pg_write_all_data TO mallory WITH INHERIT FALSE, SET TRUE",
        "SET ROLE pg_write_all_data; ",
    ),
    "all data by a role between": (
        "CREATE ROLE middle; GRANT pg_write_all_data TO middle; GRANT middle TO mallory WITH INHERIT FALSE, SET TRUE",
        "SET ROLE middle; ",
    ),
}
NAME_SCHEMA = """UPDATE pgvector_seed.deployment SET declaration = jsonb_set(declaration, '{{schema}}', '"{}"')"""
TRAP = f"""
CREATE TABLE trap.embeddings (id serial PRIMARY KEY, embedding public.vector(4));
CREATE FUNCTION trap.f() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN NEW; END$$;
CREATE TRIGGER t BEFORE INSERT ON trap.embeddings FOR EACH ROW EXECUTE FUNCTION trap.f();
{NAME_SCHEMA.format("trap")}
"""


@pytest.fixture
def mallory(database: str) -> Iterator[str]:
    """Yield the conninfo of a plain login, to which the test may grant rights on the ledger."""
    drop = "DROP ROLE IF EXISTS mallory; DROP ROLE IF EXISTS middle"
    ask(database, f"{drop}; CREATE ROLE mallory LOGIN PASSWORD 'm'")
    yield make_conninfo(database, user="mallory", password="m")
    ask(database, f"DROP OWNED BY mallory CASCADE; {drop}")


def migrate(conninfo: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m seed migrate`` as a user does."""
    return run_seed("migrate", *words, environment={"PATH": "", **pg_variables(conninfo)})


@pytest.mark.parametrize("way", WAYS)
def test_a_down_that_others_changed_is_not_run(database: str, folder: Path, mallory: str, way: str) -> None:
    """Regression: a role that could write data became superuser when a superuser undid a migration."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    grant, first = WAYS[way]
    ask(database, grant)
    ask(mallory, first + ATTACK)
    differs = migrate(database, "down", "--to", "base", "--schema", "public", "--directory", str(folder))
    assert (differs.returncode, ask(database, IS_SUPERUSER)) == (2, [(False,)]), differs.stderr
    assert "0001_a.down.sql differs from the ledger's copy" in differs.stderr
    for file in folder.iterdir():
        file.unlink()
    write(folder, a1_up="CREATE TABLE b ()")
    gone = migrate(database, "down", "--to", "base", "--schema", "public", "--directory", str(folder / "gone"))
    assert (gone.returncode, ask(database, IS_SUPERUSER)) == (2, [(False,)]), gone.stderr
    assert "0001_a.down.sql is only in the ledger" in gone.stderr
    assert applied(database) == ["0001_a"]


def test_a_down_that_is_its_files_is_run_whoever_may_write(database: str, folder: Path, mallory: str) -> None:  # noqa: ARG001
    """A down that equals its file runs, as on a managed server a role may write to every table."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a", b2_up="CREATE TABLE b ()", b2_down="DROP TABLE b")
    run(database, folder)
    ask(database, WAYS["all data"][0])
    done = migrate(database, "down", "--to", "0001_a", "--schema", "public", "--directory", str(folder))
    assert done.returncode == 0, done.stderr
    undo_all(database, folder)
    assert ask(database, "SELECT to_regclass('a'), to_regnamespace('pgvector_seed')::text") == [(None, None)]


def test_files_that_are_gone_are_undone_while_nobody_else_may_write(database: str, folder: Path) -> None:
    """Recorded downs run in apply --allow-down, down and destroy if no other role may write."""
    texts = {"a1_up": "CREATE TABLE a ()", "a1_down": "DROP TABLE a"}
    write(folder, **texts, b2_up="CREATE TABLE b ()", b2_down="DROP TABLE b")
    run(database, folder)
    for file in folder.glob("0002*"):
        file.unlink()
    run(database, folder, options=ApplyOptions(allow_down=True))
    assert applied(database) == ["0001_a"]
    assert migrate(database, "down", "--to", "base", "--directory", str(folder / "gone")).returncode == 0
    run(database, folder)
    undo_all(database)
    assert ask(database, "SELECT to_regclass('a'), to_regnamespace('pgvector_seed')::text") == [(None, None)]


@pytest.mark.parametrize("way", WAYS)
def test_what_only_the_ledger_has_is_not_run_while_others_may_write(
    database: str, folder: Path, mallory: str, way: str
) -> None:
    """Regression: a removed file's migration, or a destroy without files, ran another role's SQL."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a", b2_up="CREATE TABLE b ()", b2_down="DROP TABLE b")
    run(database, folder)
    grant, first = WAYS[way]
    ask(database, grant)
    ask(mallory, first + ATTACK.replace("DROP TABLE a; ", ""))
    for file in folder.glob("0002*"):
        file.unlink()
    for attempt in (lambda: run(database, folder, options=ApplyOptions(allow_down=True)), lambda: undo_all(database)):
        with pytest.raises(RefusedError, match=r"only in the ledger, to which (mallory|PUBLIC|middle)\b"):
            attempt()
    assert ask(database, IS_SUPERUSER) == [(False,)]


@pytest.mark.parametrize("way", ["apply", "undo", "repair"])
def test_what_was_begun_is_not_cleared_away_by_what_others_may_have_written(
    database: str, folder: Path, mallory: str, way: str
) -> None:
    """An index that only an untrusted ledger names is not dropped."""
    write(
        folder,
        a1_up="CREATE TABLE a (i int)",
        a1_down="DROP TABLE a",
        b2_up=f"{MARK}CREATE INDEX CONCURRENTLY x ON a (i)",
    )
    write(folder, b2_down="DROP INDEX x")
    run(database, folder)
    ask(database, WAYS["all data"][0])
    begun = (
        '{"file": "0003_c.up.sql", "text": "-- pgvector-seed: no-transaction\\nCREATE INDEX CONCURRENTLY x ON a (i)"}'
    )
    ask(mallory, f"UPDATE pgvector_seed.deployment SET unfinished = '{begun}'")
    ask(database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'x'::regclass")
    words = {
        "apply": ["apply"],
        "undo": ["down", "--to", "base"],
        "repair": ["repair", "0001_a"],
    }
    if way == "repair":
        write(folder, a1_up="CREATE TABLE a (i integer)")
    done = migrate(database, *words[way], "--schema", "public", "--directory", str(folder))
    assert done.returncode == 2
    assert "0003_c.up.sql is only in the ledger, to which mallory may write" in done.stderr
    assert ask(database, "SELECT to_regclass('x')::text") == [("x",)]


def test_a_schema_that_others_may_have_named_is_not_used(database: str, folder: Path, mallory: str) -> None:
    """A schema from an untrusted ledger, whose functions a superuser might call, is not used."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    ask(database, WAYS["all data"][0])
    ask(database, "CREATE SCHEMA trap AUTHORIZATION mallory; GRANT pg_read_all_data TO mallory")
    ask(mallory, NAME_SCHEMA.format("trap"))
    write(folder, b2_up="CREATE TABLE b ()")
    for words in (["apply"], ["down", "--to", "base"], ["repair", "0001_a"], ["baseline", "0002_b"]):
        done = migrate(database, *words, "--directory", str(folder))
        assert (done.returncode, "Name it, if it is correct: --schema trap" in done.stderr) == (2, True), done.stderr
        done = migrate(database, *words, "--directory", str(folder), "--schema", "public")
        assert (done.returncode, "in the schema trap, not public" in done.stderr) == (2, True), done.stderr
    with pytest.raises(RefusedError, match="in the schema trap, not public"):
        undo_all(database, folder)
    assert ask(database, "SELECT to_regclass('trap.b')") == [(None,)]


def test_a_ledger_that_others_may_put_a_trigger_on_is_not_written_to(database: str, folder: Path, mallory: str) -> None:
    """The TRIGGER right of another role is refused, and the remedy revokes it."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, "GRANT TRIGGER ON pgvector_seed.migrations TO mallory")
    write(folder, b2_up="CREATE TABLE b ()")
    with pytest.raises(RefusedError, match="mallory may put a trigger on the ledger") as caught:
        run(database, folder)
    ask(database, caught.value.remedy.removeprefix("In psql: "))
    run(database, folder)
    with pytest.raises(errors.InsufficientPrivilege):
        ask(mallory, "SELECT FROM pgvector_seed.migrations")


def test_a_new_ledger_is_nobody_elses_whatever_the_default_privileges(
    database: str, folder: Path, mallory: str
) -> None:
    ask(database, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO mallory, PUBLIC")
    ask(database, "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO mallory")
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ledger = ledger_of(database)
    assert ledger is not None
    assert ledger.writers.names == ()
    ask(database, "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM mallory, PUBLIC")
    ask(database, "ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM mallory")
    for statement in ("SELECT FROM pgvector_seed.migrations", "CREATE TABLE pgvector_seed.x ()"):
        with pytest.raises(errors.InsufficientPrivilege):
            ask(mallory, statement)


def test_members_of_the_owner_and_superusers_are_no_others(database: str, folder: Path, mallory: str) -> None:
    """Members of the owner and superusers may write: they could act as the owner anyway."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, "CREATE ROLE middle; GRANT middle TO mallory; ALTER SCHEMA pgvector_seed OWNER TO middle")
    for table in ("migrations", "deployment"):
        ask(
            database,
            f"GRANT ALL ON pgvector_seed.{table} TO mallory; ALTER TABLE pgvector_seed.{table} OWNER TO middle",
        )
    try:
        with connect(make_conninfo(mallory, options="-c role=middle")) as connection:
            ledger = read_ledger(connection)
        assert ledger is not None
        assert ledger.writers.names == ()
    finally:
        ask(database, "DROP OWNED BY middle CASCADE")


def test_the_sample_does_not_go_where_others_may_have_led_it(database: str, folder: Path, mallory: str) -> None:
    """Regression: a writer's trigger on a table of that name ran as the superuser who filled it."""
    write(folder, a1_up="CREATE TABLE embeddings (id serial PRIMARY KEY, embedding vector(4))")
    run(database, folder)
    ask(database, WAYS["all data"][0])
    ask(database, "GRANT pg_read_all_data TO mallory; CREATE SCHEMA trap AUTHORIZATION mallory")
    ask(mallory, TRAP)
    seed = [sys.executable, "-m", "seed", "sample"]
    environment = {"PATH": "", **pg_variables(database)}
    led = subprocess.run(seed, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ask(database, IS_SUPERUSER) == [(False,)]
    assert (led.returncode, "Name it, if it is correct: --schema trap" in led.stderr) == (2, True)
    named = [*seed, "--schema", "public"]
    assert subprocess.run(named, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0


def test_a_handover_takes_nothing_from_a_schema_that_others_named(database: str, folder: Path, mallory: str) -> None:
    """A superuser's objects stay in a schema that only an untrusted ledger names."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, f"{WAYS['all data'][0]}; GRANT pg_read_all_data TO mallory; CREATE ROLE middle")
    ask(database, "CREATE SCHEMA private CREATE TABLE secrets (); GRANT CREATE ON SCHEMA public TO middle")
    ask(mallory, NAME_SCHEMA.format("private"))
    with pytest.raises(RefusedError, match="in the schema private, not public"):
        run(as_role(database, "middle"), folder)
    ask(database, "REVOKE ALL ON SCHEMA public FROM middle")
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('private', 'public', 'pgvector_seed')"
    assert ask(database, owners) == [("postgres",)]


FOREIGN_KEY = """
CREATE TABLE own.fk (id text REFERENCES pgvector_seed.migrations (id) ON DELETE CASCADE);
INSERT INTO own.fk VALUES ('0001_a');
CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER t AFTER DELETE ON own.fk DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.f();
"""


def test_a_foreign_key_that_refers_to_the_ledger_runs_nothing(database: str, folder: Path, mallory: str) -> None:
    """Regression: its cascade ran another table's trigger with the rights of the undoing role."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    ask(
        database,
        "GRANT USAGE ON SCHEMA pgvector_seed TO mallory; GRANT REFERENCES ON pgvector_seed.migrations TO mallory",
    )
    ask(database, "CREATE SCHEMA own AUTHORIZATION mallory")
    ask(mallory, FOREIGN_KEY)
    with pytest.raises(RefusedError, match="a foreign key refers to it"):
        undo_all(database, folder)
    ask(database, "ALTER TABLE own.fk DROP CONSTRAINT fk_id_fkey")
    with pytest.raises(RefusedError, match="mallory may put a trigger on the ledger") as caught:
        undo_all(database, folder)
    ask(database, caught.value.remedy.removeprefix("In psql: "))
    undo_all(database, folder)
    assert ask(database, IS_SUPERUSER) == [(False,)]


def test_an_operator_of_others_is_not_run_when_the_ledger_is_made(database: str, folder: Path, mallory: str) -> None:
    """Regression: an operator for aclitem[] in the migrations' schema was used instead of PostgreSQL's."""
    ask(database, "GRANT CREATE ON SCHEMA public TO mallory")
    ask(
        mallory,
        "CREATE FUNCTION public.f(aclitem[], aclitem[]) RETURNS aclitem[] LANGUAGE plpgsql AS "
        "$$BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN $1; END$$; "
        "CREATE OPERATOR public.|| (LEFTARG = aclitem[], RIGHTARG = aclitem[], FUNCTION = public.f)",
    )
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    assert ask(database, IS_SUPERUSER) == [(False,)]


def test_a_ledger_is_made_without_any_language(database: str, folder: Path) -> None:
    ask(database, "DROP EXTENSION plpgsql")
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    assert applied(database) == ["0001_a"]


def test_a_right_that_another_gave_is_revoked_by_the_remedy(database: str, folder: Path, mallory: str) -> None:  # noqa: ARG001
    """The remedy names the grantor: the owner's REVOKE would have no effect on a member's grant."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    ask(database, "CREATE ROLE middle LOGIN PASSWORD 'm' NOINHERIT; GRANT postgres TO middle WITH INHERIT FALSE")
    ask(database, "GRANT USAGE ON SCHEMA pgvector_seed TO middle")
    ask(database, "GRANT UPDATE ON pgvector_seed.migrations TO middle WITH GRANT OPTION")
    ask(make_conninfo(database, user="middle", password="m"), "GRANT UPDATE ON pgvector_seed.migrations TO mallory")
    ledger = ledger_of(database)
    assert ledger is not None
    assert ledger.writers.granted == ("mallory",)
    ask(database, ledger.writers.revoke)
    after = ledger_of(database)
    ask(database, "DROP OWNED BY middle")
    assert after is not None
    assert after.writers.names == ()


def test_an_undo_wants_the_schema_named_while_others_may_write(database: str, folder: Path, mallory: str) -> None:
    """Regression: a ledger that named the schema public had a table dropped there."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder, declare("app"))
    ask(database, f"{WAYS['all data'][0]}; GRANT pg_read_all_data TO mallory; CREATE TABLE public.a ()")
    ask(mallory, NAME_SCHEMA.format("public"))
    led = migrate(database, "down", "--to", "base", "--directory", str(folder))
    assert (led.returncode, "Name it, if it is correct: --schema public" in led.stderr) == (2, True)
    assert ask(database, "SELECT to_regclass('public.a')::text") == [("a",)]


FUNCTION = """
CREATE FUNCTION own.f() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN NEW; END$$;
CREATE TRIGGER t BEFORE INSERT ON public.embeddings FOR EACH ROW EXECUTE FUNCTION own.f();
"""
OPERATOR = """
CREATE FUNCTION own.f(ext.vector, ext.vector) RETURNS float8 LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN 1; END$$;
CREATE OPERATOR public.<-> (LEFTARG = ext.vector, RIGHTARG = ext.vector, FUNCTION = own.f);
"""


@pytest.mark.parametrize(("planted", "code"), [(FUNCTION, 2), (OPERATOR, 0)], ids=["trigger", "operator"])
def test_the_sample_runs_no_code_of_others(database: str, folder: Path, mallory: str, planted: str, code: int) -> None:
    """Regression: another role's trigger and distance operator ran as the superuser who filled the table."""
    ask(database, "CREATE SCHEMA ext; ALTER EXTENSION vector SET SCHEMA ext; CREATE SCHEMA own AUTHORIZATION mallory")
    write(folder, a1_up="CREATE TABLE embeddings (id serial PRIMARY KEY, embedding vector(4))")
    run(database, folder)
    ask(database, "GRANT ALL ON embeddings TO mallory; GRANT CREATE ON SCHEMA public TO mallory")
    ask(database, "GRANT USAGE ON SCHEMA ext TO mallory")
    ask(mallory, planted)
    seed = [sys.executable, "-m", "seed", "sample"]
    environment = {"PATH": "", **pg_variables(database)}
    done = subprocess.run(seed, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, ask(database, IS_SUPERUSER)) == (code, [(False,)]), done.stderr
