"""A deployment that belongs to a role which cannot log in: who may act as it, and how it came to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from postgres.connection import as_role, connect
from postgres.errors import RefusedError, WrongResultError
from postgres.ledger import owner_to_act_as, read_ledger
from tests.conftest import ask, declare, name_of
from tests.db.helpers import applied, run, write

OWNER = 'own "er" \\ 😀'
QUOTED = '"own ""er"" \\ 😀"'
OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'pgvector_seed'::regnamespace) AND relkind <> 'i'
  AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
"""


@pytest.fixture
def roles(database: str) -> Iterator[dict[str, str]]:
    """An owner, a plain login that deploys, and one more."""
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
    """RESET ROLE in a migration leads back to the owner, and so does what cleans the session up."""
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
    """Else the owner could create nothing in it."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(roles["deployer"], folder, declare("my schema"))
    write(folder, b2_up="CREATE TABLE b ()")
    run(as_role(roles["deployer"], OWNER), folder, declare("my schema"))
    owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'my schema'"
    assert ask(database, owner) == [(OWNER,)]


def test_a_ledger_of_somebody_else_is_not_taken(folder: Path, roles: dict[str, str]) -> None:
    """With the owner's role in hand, a planted ledger would be given to it, and its downs be run."""
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


def test_the_owner_is_acted_as_where_only_we_can_become_it(database: str, folder: Path, roles: dict[str, str]) -> None:
    """Another member could have written what a superuser, or the deployer, would then run."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(as_role(roles["deployer"], OWNER), folder)
    with connect(roles["deployer"]) as connection:
        assert owner_to_act_as(connection) == OWNER
        assert read_ledger(connection) is not None
    with connect(roles["other"]) as connection:
        assert owner_to_act_as(connection) is None
    ask(database, f"GRANT {QUOTED} TO other")
    with connect(roles["deployer"]) as connection:
        assert owner_to_act_as(connection) is None
    with connect(database) as connection, pytest.raises(RefusedError, match="belongs to own"):
        read_ledger(connection)
    ask(database, f"REVOKE {QUOTED} FROM other, deployer")
    with connect(database) as connection:
        assert owner_to_act_as(connection) == OWNER
        assert read_ledger(connection) is not None


def test_a_ledger_of_before_has_no_roles(database: str, folder: Path) -> None:
    """A record that an older version wrote is read, and completed by the next apply."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, "UPDATE pgvector_seed.deployment SET declaration = declaration - 'roles'")
    run(database, folder)
    with connect(database) as connection:
        ledger = read_ledger(connection)
    assert ledger is not None
    assert ledger.declaration.roles == {}
