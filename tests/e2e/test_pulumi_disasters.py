"""Accidents between two runs of a deployment, and the recovery that docs/operations.md describes."""

from __future__ import annotations

import json

import pytest

from local import binaries
from local.server import Server
from pgvector_seed.postgres.conninfo import as_role
from tests.conftest import ask, conninfo, name_of
from tests.e2e.conftest import NOTHING, WHAT_IS_THERE, Stack
from tests.e2e.roles import SAMPLE, VERIFY, assert_no_drift, assert_right_for_all, declare, login, run_as
from tests.roles import Names, quoted

OWNERS = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('public', 'pgvector_seed')"

LEDGERS_OWNER = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'pgvector_seed'"


def refresh(stack: Stack) -> str:
    """Run ``pulumi refresh`` without a preview."""
    return stack.pulumi("refresh", "--yes", "--skip-preview")


def as_owner(stack: Stack) -> str:
    """Return the deployer's conninfo, acting as the ledger's owner."""
    owners = ask(stack.conninfo, LEDGERS_OWNER)
    return as_role(stack.conninfo, owners[0][0]) if owners else stack.conninfo


def verify(stack: Stack, *words: str, code: int = 0) -> str:
    """Run ``python -m seed verify`` as the owner, assert its exit code, and return its output."""
    done = run_as(stack, as_owner(stack), *VERIFY, *words)
    assert done.returncode == code, done.stdout
    return done.stdout


def sample(stack: Stack) -> None:
    """Insert the article's vectors."""
    done = run_as(stack, as_owner(stack), *SAMPLE)
    assert done.returncode == 0, done.stdout


def add_tables(stack: Stack) -> None:
    """Write two more migrations, b and c."""
    for number, table in ((2, "b"), (3, "c")):
        stack.write(f"migrations/000{number}_{table}.up.sql", f"CREATE TABLE {table} (id serial)")
        stack.write(f"migrations/000{number}_{table}.down.sql", f"DROP TABLE {table}")


def replace_database(stack: Stack, server: Server, template: str = "template0") -> None:
    """Replace the stack's database with a new one."""
    name = name_of(stack.conninfo)
    for statement in (f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}"):
        ask(conninfo(server, "postgres"), statement)


def drop_all_roles(stack: Stack, names: Names) -> None:
    """Drop the three roles, as if the server had been replaced."""
    for name in (names.reader, names.writer, names.owner):
        ask(stack.conninfo, f"DROP ROLE {quoted(name)}")


def dump(stack: Stack, server: Server) -> str:
    """Return a backup as SQL, without owners and privileges, as hosted services make it."""
    words = ["--no-owner", "--no-privileges", stack.conninfo]
    done = binaries.run(server.major, "pg_dump", words, home=server.home, stdin="")
    assert done.returncode == 0, done.stdout
    return done.stdout


def restore(stack: Stack, server: Server, backup: str) -> None:
    """Run the SQL of a backup."""
    words = ["--quiet", "--set=ON_ERROR_STOP=1", stack.conninfo]
    done = binaries.run(server.major, "psql", words, home=server.home, stdin=backup)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("roles", [False, True])
def test_a_backup_older_than_the_state(stack: Stack, server: Server, names: Names, roles: bool) -> None:
    """An up alone changes nothing, as the state has all migrations; a refresh reads the ledger, which has fewer."""
    if roles:
        declare(stack, names)
    stack.up()
    sample(stack)
    backup = quoted(f"backup of {name_of(stack.conninfo)}")
    ask(conninfo(server, "postgres"), f"CREATE DATABASE {backup} TEMPLATE {name_of(stack.conninfo)}")
    try:
        add_tables(stack)
        stack.up()
        replace_database(stack, server, backup)
    finally:
        ask(conninfo(server, "postgres"), f"DROP DATABASE {backup}")
    stack.up("--expect-no-changes")
    assert "fail  ledger" in verify(stack, "--stack", "dev", code=1)
    output = stack.up("--refresh")
    assert "0002_b applied" in output
    assert "0003_c applied" in output
    assert "0001_create_embeddings applied" not in output
    assert_no_drift(stack)
    assert ask(stack.conninfo, "SELECT count(*) FROM embeddings") == [(3,)]
    if roles:
        assert_right_for_all(stack, names)
        assert ask(login(stack, names, "reader"), "SELECT * FROM b, c") == []


@pytest.mark.parametrize("roles_too", [False, True])
def test_a_backup_without_owners(stack: Stack, server: Server, names: Names, roles_too: bool) -> None:
    """A database whose objects belong to the restoring role, on a server without the stack's roles, is repaired."""
    declare(stack, names)
    add_tables(stack)
    stack.up()
    sample(stack)
    backup = dump(stack, server)
    replace_database(stack, server)
    if roles_too:
        drop_all_roles(stack, names)
    restore(stack, server, backup)
    assert "The next up hands it over" in refresh(stack)
    assert f"belong to {names.owner} now" in stack.up()
    assert ask(stack.conninfo, OWNERS) == [(names.owner,)]
    assert_no_drift(stack)
    assert_right_for_all(stack, names)
    assert ask(login(stack, names, "reader"), "SELECT count(*) FROM embeddings") == [(3,)]


@pytest.mark.parametrize("lost", ["database", "database with roles", "server"])
def test_an_empty_database_of_the_same_name(stack: Stack, server: Server, names: Names, lost: str) -> None:
    """One refresh and one up recreate everything, including the rights on the new tables."""
    if lost != "database":
        declare(stack, names)
    stack.up()
    replace_database(stack, server)
    if lost == "server":
        drop_all_roles(stack, names)
    stack.up("--expect-no-changes")
    assert "this database has none, and is taken for a new one" in refresh(stack)
    assert "0001_create_embeddings applied" in stack.up()
    assert_no_drift(stack)
    sample(stack)
    verify(stack, "--strict")
    if lost != "database":
        assert_right_for_all(stack, names)


def test_the_extension_updated_by_hand(stack: Stack) -> None:
    """The stack does not watch the version: it would drop the extension, and with it the columns."""
    stack.up()
    sample(stack)
    to = "UPDATE pg_extension SET extversion = '{}' WHERE extname = 'vector'"
    ask(stack.conninfo, to.format("0.8.4"))
    assert_no_drift(stack)
    verify(stack, "--strict")
    ask(stack.conninfo, to.format("0.8.3"))
    for output in (stack.up(code=1), verify(stack, code=1)):
        assert "0.8.4" in output
        assert "ALTER EXTENSION vector UPDATE;" in output
    ask(stack.conninfo, "ALTER EXTENSION vector UPDATE")
    assert_no_drift(stack)
    assert "vector 0.8.5 in the schema public" in verify(stack, "--strict")


def test_a_table_altered_by_hand(stack: Stack) -> None:
    """Pulumi compares the ledger only; verify finds a difference from the contract, and nothing finds any other."""
    stack.write("migrations/0002_i.up.sql", "CREATE INDEX i ON embeddings USING hnsw (embedding vector_l2_ops)")
    stack.up()
    sample(stack)
    ask(stack.conninfo, "ALTER TABLE embeddings ADD label text")
    assert_no_drift(stack)
    verify(stack)
    stack.write("migrations/0003_label.up.sql", "ALTER TABLE embeddings ADD COLUMN IF NOT EXISTS label text")
    stack.up()

    ask(stack.conninfo, "DROP INDEX i")
    assert_no_drift(stack)
    output = verify(stack, code=1)
    assert "the index i does not exist" in output
    ask(stack.conninfo, output.split("to fix: ")[1].splitlines()[0])
    verify(stack)

    ask(stack.conninfo, "TRUNCATE embeddings; ALTER TABLE embeddings ALTER embedding TYPE vector(5)")
    assert_no_drift(stack)
    assert "embedding is vector(5)" in verify(stack, code=1)
    stack.write("migrations/0004_model.up.sql", "ALTER TABLE embeddings ALTER embedding TYPE vector(5)")
    stack.up()
    ask(stack.conninfo, "INSERT INTO embeddings (embedding) SELECT ARRAY[1, 2, 3, 4, n] FROM generate_series(1, 3) n")
    verify(stack)


def test_two_stacks_on_one_database(stack: Stack) -> None:
    """A second stack is admitted, as the first would be without its state, and its retain protects from the first."""
    stack.up()
    before = ask(stack.conninfo, "SELECT * FROM pgvector_seed.migrations")
    stack.pulumi("stack", "init", "other", "--copy-config-from", "dev")
    stack.pulumi("config", "set", "schema", "elsewhere", PULUMI_STACK="other")
    assert "were applied in the schema public, not elsewhere" in stack.up(code=1, PULUMI_STACK="other")
    stack.pulumi("config", "rm", "schema", PULUMI_STACK="other")
    stack.pulumi("config", "set", "onDestroy", "retain", PULUMI_STACK="other")
    assert "applied in" not in stack.up(PULUMI_STACK="other")
    assert ask(stack.conninfo, "SELECT * FROM pgvector_seed.migrations") == before

    sample(stack)
    output = stack.destroy(code=1)
    assert "the last up on this database said onDestroy retain" in output
    assert "Traceback" not in output
    stack.up("--refresh", "--expect-no-changes", PULUMI_STACK="other")
    verify(stack, "--strict")
    assert "1 updated" in refresh(stack)
    assert "1 updated" in stack.up()
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_a_stack_renamed(stack: Stack, names: Names) -> None:
    """A rename changes every URN in the state and nothing in the database; a replacement would drop the tables."""
    declare(stack, names)
    stack.up()
    stack.pulumi("stack", "rename", "prod")
    stack.settings["PULUMI_STACK"] = "prod"
    assert_no_drift(stack)


def test_the_state_of_an_older_provider(stack: Stack, names: Names) -> None:
    """An upgrade updates the provider's version without a replacement, which would drop all that it made.

    Only the version in the state is simulated, not other differences of an older release.
    """
    declare(stack, names)
    stack.up()
    state = json.loads(stack.pulumi("stack", "export"))
    for resource in state["deployment"]["resources"]:
        if resource["type"] == "pulumi:providers:postgresql":
            resource["inputs"]["version"] = resource["outputs"]["version"] = "3.17.0"
    stack.write("state.json", json.dumps(state))
    stack.pulumi("stack", "import", "--file", "state.json")
    output = stack.up()
    assert "1 updated" in output
    assert "29 unchanged" in output
    assert_no_drift(stack)
