"""A deployment that is owned by a role without login: the roles that may act as it, and how it became the owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import RefusedError, WrongResultError
from pgvector_seed.migrate.ledger import read
from pgvector_seed.migrate.ledger.facts import LedgerFacts
from pgvector_seed.migrate.ledger.model import Writers
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import refuse_to_write
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import as_role
from tests.conftest import ask, declare, name_of
from tests.migrate.helpers import LEDGER_SQL, applied, run, write

OWNER = 'own "er" \\ 😀'
QUOTED = '"own ""er"" \\ 😀"'
OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'pgvector_seed'::regnamespace) AND relkind <> 'i'
  AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
"""


@pytest.fixture
def roles(database: str) -> Iterator[dict[str, str]]:
    """Yield an owner, a plain login that deploys, and another login."""
    drop = f"DROP ROLE IF EXISTS {QUOTED}; DROP ROLE IF EXISTS deployer; DROP ROLE IF EXISTS other"
    ask(database, drop)
    ask(
        database, f"CREATE ROLE {QUOTED}; CREATE ROLE deployer LOGIN PASSWORD 'p'; CREATE ROLE other LOGIN PASSWORD 'p'"
    )
    ask(database, f"GRANT CREATE ON DATABASE {name_of(database)} TO {QUOTED}, deployer, other")
    ask(database, f"GRANT CREATE ON SCHEMA public TO {QUOTED}, deployer; GRANT {QUOTED} TO deployer")
    yield {name: make_conninfo(database, user=name, password="p") for name in ("deployer", "other")}
    ask(database, f"DROP OWNED BY {QUOTED}, deployer, other CASCADE; {drop}")


def test_migrations_run_as_the_role_whatever_they_reset(database: str, folder: Path, roles: dict[str, str]) -> None:
    """RESET ROLE and DISCARD ALL in a migration lead back to the owner."""
    write(folder, a1_up="RESET ROLE; CREATE TABLE a (id serial)", b2_up="SET ROLE NONE", c3_up="CREATE TABLE c ()")
    run(as_role(roles["deployer"], OWNER), folder)
    assert ask(database, OWNERS) == [(OWNER,)]
    assert ask(database, "SELECT DISTINCT applied_by FROM pgvector_seed.migrations") == [("deployer",)]


@pytest.mark.parametrize("superuser", [True, False])
def test_everything_of_ours_is_handed_over_and_nothing_else(
    database: str, folder: Path, roles: dict[str, str], *, superuser: bool
) -> None:
    deployer = database if superuser else roles["deployer"]
    write(
        folder,
        a1_up="CREATE TABLE a (id serial, e vector(3)); CREATE VIEW v AS SELECT * FROM a; CREATE TYPE t AS (x int)",
    )
    run(deployer, folder)
    ask(deployer, "CREATE AGGREGATE n(*) (sfunc = int8inc, stype = int8, initcond = '0')")
    before = ask(database, "SELECT contract, ledger FROM pgvector_seed.deployment")
    ask(
        database,
        "CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO other; CREATE SCHEMA s; CREATE TABLE s.elsewhere ()",
    )
    run(as_role(deployer, OWNER), folder)
    assert sorted(ask(database, OWNERS)) == sorted([(OWNER,), ("other",)])
    assert ask(database, "SELECT pg_get_userbyid(typowner) FROM pg_type WHERE typname = 't'") == [(OWNER,)]
    assert ask(database, "SELECT tableowner FROM pg_tables WHERE schemaname = 's'") == [("postgres",)]
    after = ask(database, "SELECT contract, ledger FROM pgvector_seed.deployment")
    assert after[0][1] == before[0][1]
    assert after[0][0]["tables"][0]["owner"] == OWNER
    ask(database, "DROP SCHEMA s CASCADE")


def test_a_schema_that_we_made_is_handed_over(database: str, folder: Path, roles: dict[str, str]) -> None:
    """The owner owns the schema that we created, so that it can create tables."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(roles["deployer"], folder, declare("my schema"))
    write(folder, b2_up="CREATE TABLE b ()")
    run(as_role(roles["deployer"], OWNER), folder, declare("my schema"))
    owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'my schema'"
    assert ask(database, owner) == [(OWNER,)]


def test_a_ledger_of_somebody_else_is_not_taken(folder: Path, roles: dict[str, str]) -> None:
    """A planted ledger is not given to the owner, in whose name its downs would run."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(roles["other"], folder, declare("others"))
    with pytest.raises(RefusedError, match="belongs to other"):
        run(as_role(roles["deployer"], OWNER), folder, declare("others"))
    assert applied(roles["other"]) == ["0001_a"]


def test_a_failed_handover_leaves_all_as_it_was(database: str, folder: Path, roles: dict[str, str]) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(roles["deployer"], folder)
    ask(database, f"REVOKE CREATE ON SCHEMA public FROM {QUOTED}")
    with pytest.raises(WrongResultError, match="permission denied for schema public"):
        run(as_role(roles["deployer"], OWNER), folder)
    assert ask(database, OWNERS) == [("deployer",)]


def test_whoever_names_the_owner_acts_as_it(database: str, folder: Path, roles: dict[str, str]) -> None:
    """A superuser may write once the owner is named, and is told how; reading needs no name."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(as_role(roles["deployer"], OWNER), folder)
    for attempt in (lambda: applied(database), lambda: run(database, folder)):
        with pytest.raises(RefusedError, match="belongs to own") as caught:
            attempt()
    assert """PGOPTIONS='-c role=own\\ "er"\\ \\\\\\ 😀'""" in caught.value.remedy
    assert applied(as_role(database, OWNER)) == applied(roles["deployer"]) == ["0001_a"]
    ask(database, f"SET ROLE {QUOTED}; CREATE INDEX ON pgvector_seed.migrations (lower(id))")
    with pytest.raises(RefusedError, match="belongs to own"):
        applied(roles["deployer"])
    assert applied(as_role(database, OWNER)) == ["0001_a"]


def test_a_trigger_on_the_ledger_is_nobodys(database: str, folder: Path, roles: dict[str, str]) -> None:
    """A ledger with a trigger is refused: its maker may have acted as the owner in a session before."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(as_role(roles["deployer"], OWNER), folder)
    function = "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    trigger = "CREATE TRIGGER t BEFORE INSERT ON pgvector_seed.migrations FOR EACH ROW EXECUTE FUNCTION public.f()"
    ask(database, f"SET ROLE {QUOTED}; {function}; {trigger}")
    write(folder, b2_up="CREATE TABLE b ()")
    with pytest.raises(RefusedError, match="has a trigger"):
        run(as_role(roles["deployer"], OWNER), folder)


def test_a_ledger_that_appears_after_the_look_is_not_used(
    database: str, folder: Path, roles: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that is planted between check and read is not read, as both share one snapshot."""
    write(folder, a1_up="CREATE TABLE a ()")

    def look_and_plant(facts: LedgerFacts, writers: Writers) -> None:
        refuse_to_write(facts, writers)
        ask(roles["other"], LEDGER_SQL)

    with monkeypatch.context() as patched:
        patched.setattr(read, "refuse_to_write", look_and_plant)
        with pytest.raises(WrongResultError, match='schema "pgvector_seed" already exists'):
            run(database, folder)
    with pytest.raises(RefusedError, match="belongs to other"):
        run(database, folder)


PLANT = """
CREATE SCHEMA pgvector_seed AUTHORIZATION orphan; CREATE SCHEMA mine AUTHORIZATION orphan; SET ROLE orphan;
{ledger};
CREATE FUNCTION mine.f() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'SET ROLE NONE'; EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN NEW; END$$;
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON pgvector_seed.migrations FOR EACH ROW EXECUTE FUNCTION mine.f();
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON pgvector_seed.deployment FOR EACH ROW EXECUTE FUNCTION mine.f();
"""


def test_a_ledger_that_nobody_owns_any_more_is_not_written_to(
    database: str, folder: Path, roles: dict[str, str]
) -> None:
    """A ledger whose owner has no members is refused: a CREATEROLE login may have left its triggers."""
    ask(database, "DROP ROLE IF EXISTS mallory; DROP ROLE IF EXISTS orphan; CREATE ROLE mallory LOGIN PASSWORD 'm'")
    ask(
        database,
        f"CREATE ROLE orphan; GRANT orphan TO mallory; GRANT CREATE ON DATABASE {name_of(database)} TO mallory, orphan",
    )
    ledger = LEDGER_SQL.replace("CREATE SCHEMA pgvector_seed;", "")
    ask(make_conninfo(database, user="mallory", password="m"), PLANT.format(ledger=ledger))
    ask(database, "REVOKE orphan FROM mallory")
    write(folder, a1_up="CREATE TABLE a ()")
    try:
        for attempt in (database, as_role(database, OWNER), as_role(roles["deployer"], OWNER)):
            with pytest.raises(RefusedError, match="belongs to orphan"):
                run(attempt, folder, declare("mine"))
        assert ask(database, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == [(False,)]
    finally:
        ask(database, "DROP OWNED BY orphan, mallory CASCADE; DROP ROLE orphan; DROP ROLE mallory")


def test_a_schema_that_does_not_let_the_owner_in(database: str, folder: Path, roles: dict[str, str]) -> None:
    """A schema without USAGE for the owner is refused: tables would land in the extension's schema."""
    ask(database, "DROP SCHEMA IF EXISTS closed CASCADE; CREATE SCHEMA closed")
    write(folder, a1_up="CREATE TABLE a ()")
    with pytest.raises(RefusedError, match="cannot create in the schema closed") as caught:
        run(as_role(roles["deployer"], OWNER), folder, declare("closed"))
    ask(database, caught.value.remedy.partition("In psql: ")[2])
    run(as_role(roles["deployer"], OWNER), folder, declare("closed"))
    assert ask(database, "SELECT to_regclass('closed.a')::text") == [("closed.a",)]


@pytest.mark.parametrize("key", ["roles", "reader_settings"])
def test_a_ledger_of_before_lacks_later_keys(database: str, folder: Path, key: str) -> None:
    """A record without roles or settings, as an older version wrote it, is read and applied to."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, "UPDATE pgvector_seed.deployment SET declaration = declaration - '" + key + "'")
    run(database, folder)
    with connect(database) as connection:
        record = read_ledger(connection)
    assert record is not None
    assert getattr(record.declaration, key) == {}
