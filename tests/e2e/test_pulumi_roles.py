"""Owner, writer and reader on the real engine: the rights of each, and no drift."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import ask, name_of, until
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack, kill_all_in, run
from tests.e2e.roles import (
    SAMPLE,
    VERIFY,
    assert_no_drift,
    assert_right_for_all,
    declare,
    login,
    lose_state,
    password,
    run_as,
)
from tests.roles import Names, quoted

ROLES = "SELECT count(*) FROM pg_roles WHERE rolname IN ('{0.owner}', '{0.writer}', '{0.reader}')"


def count(stack: Stack, names: Names) -> int:
    """Return how many of the roles exist."""
    return int(ask(stack.conninfo, ROLES.format(names))[0][0])


def sample(stack: Stack, names: Names) -> None:
    """Insert the article's vectors as the writer."""
    done = run_as(stack, login(stack, names, "writer"), *SAMPLE)
    assert done.returncode == 0, done.stdout


def test_each_does_its_own_and_nothing_drifts(stack: Stack, names: Names) -> None:
    """Roles with names that need quoting work from the first up to destroy."""
    declare(stack, names)
    stack.up()
    assert_no_drift(stack)
    contract = json.loads(stack.pulumi("stack", "output", "contract", "--json"))
    assert contract["roles"] == {"writer": names.writer, "reader": names.reader}
    assert contract["tables"][0]["owner"] == names.owner
    sample(stack, names)
    assert_right_for_all(stack, names)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(login(stack, names, "reader"), "DELETE FROM embeddings")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(login(stack, names, "writer"), "DELETE FROM pgvector_seed.migrations")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
    assert count(stack, names) == 0


@contextmanager
def reading_all_the_time(conninfo: str) -> Iterator[list[int]]:
    """Query in a loop, and fail the test if a query is ever refused."""
    answers: list[int] = []
    done = Event()

    def read() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not done.wait(0.001):
                answers.append(connection.execute("SELECT FROM embeddings").rowcount)

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        try:
            yield answers
        finally:
            done.set()
        reader.result()


def test_what_is_created_later_is_readable_at_once(stack: Stack, names: Names) -> None:
    """Default privileges and the same up's grants cover a new table, and the reader is never locked out."""
    declare(stack, names)
    stack.up()
    stack.write("migrations/0002_b.up.sql", "CREATE TABLE b (id serial); CREATE VIEW v AS SELECT * FROM b")
    stack.write("migrations/0002_b.down.sql", "DROP VIEW v; DROP TABLE b")
    with reading_all_the_time(login(stack, names, "reader")) as times:
        stack.up()
    assert len(times) > 100
    assert_no_drift(stack)
    ask(login(stack, names, "writer"), "INSERT INTO b DEFAULT VALUES")
    assert ask(login(stack, names, "reader"), "SELECT id FROM v") == [(1,)]
    ask(stack.conninfo, f"REVOKE SELECT ON b FROM {quoted(names.reader)}")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up()
    assert ask(login(stack, names, "reader"), "SELECT id FROM b") == [(1,)]
    stack.write("migrations/0003_c.up.sql", "DROP VIEW v; DROP TABLE b")
    stack.up()
    assert_no_drift(stack)


def test_nothing_of_others_is_granted(stack: Stack, names: Names) -> None:
    """A schema without sequences of ours gets no grant on all sequences, as an empty list would mean."""
    ask(stack.conninfo, "CREATE TABLE theirs (id serial)")
    stack.write("migrations/0001_create_embeddings.up.sql", "CREATE TABLE embeddings (id int, v vector(3));")
    declare(stack, names)
    stack.up()
    for kind in ("table theirs", "sequence theirs_id_seq"):
        acl = ask(stack.conninfo, f"SELECT relacl FROM pg_class WHERE relname = '{kind.split()[1]}'")
        assert acl == [(None,)]
    assert_no_drift(stack)


def test_a_stack_that_gains_roles_hands_its_tables_over(stack: Stack, names: Names) -> None:
    """The owner's next migration can alter tables that the login created before."""
    stack.up()
    assert run_as(stack, stack.conninfo, *SAMPLE).returncode == 0
    declare(stack, names)
    assert f"belong to {names.owner} now" in stack.up()
    assert_no_drift(stack)
    assert_right_for_all(stack, names)
    assert ask(stack.conninfo, "SELECT count(*) FROM embeddings") == [(3,)]
    stack.write("migrations/0002_b.up.sql", "ALTER TABLE embeddings ADD label text")
    stack.up()


def test_retain_keeps_the_roles_and_their_rights(stack: Stack, names: Names) -> None:
    """Under retain, destroy keeps the owner, its tables and all rights."""
    stack.set("onDestroy", "retain")
    declare(stack, names)
    stack.up()
    reader = login(stack, names, "reader")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    assert ask(reader, "SELECT count(*) FROM embeddings") == [(0,)]
    assert "importRoles=true" in stack.up(code=1)


def test_state_lost(stack: Stack, names: Names) -> None:
    """One command imports the existing roles, which get new passwords."""
    declare(stack, names)
    stack.up()
    before = password(stack, "reader")
    lose_state(stack)
    output = stack.up(code=1)
    assert "pulumi up --config importRoles=true" in output
    assert "Traceback" not in output
    stack.up("--config", "importRoles=true")
    assert password(stack, "reader") != before
    assert_no_drift(stack)
    stack.pulumi("config", "rm", "importRoles")
    assert_no_drift(stack)
    sample(stack, names)
    assert_right_for_all(stack, names)


def test_existing_roles_are_used_as_they_are(stack: Stack, names: Names) -> None:
    """Existing roles keep their passwords, and destroy keeps the roles."""
    for kind in ("owner", "writer", "reader"):
        name = getattr(names, kind)
        ask(stack.conninfo, f"CREATE ROLE {quoted(name)} LOGIN PASSWORD 'own'")
        stack.pulumi("config", "set", "--path", f"roles.{kind}.existing", name)
    assert "permission denied for database" in stack.up(code=1)
    ask(stack.conninfo, f"GRANT CREATE ON DATABASE {name_of(stack.conninfo)} TO {quoted(names.owner)}")
    ask(stack.conninfo, f"GRANT CREATE ON SCHEMA public TO {quoted(names.owner)}")
    stack.up()
    assert_no_drift(stack)
    assert "writerPassword" not in stack.pulumi("stack", "output")
    for kind in ("writer", "reader"):
        role = make_conninfo(stack.conninfo, user=getattr(names, kind), password="own")
        assert run_as(stack, role, *VERIFY, "--skip", "rows").returncode == 0
    stack.destroy()
    assert count(stack, names) == 3


def test_roles_that_get_other_names(stack: Stack, names: Names) -> None:
    """Roles are renamed with their tables, rights and passwords, also if a destroy would revert the migrations."""
    declare(stack, names)
    stack.up()
    others = Names(*(f"another {name}" for name in (names.owner, names.writer, names.reader)))
    declare(stack, others)
    stack.up()
    assert_no_drift(stack)
    sample(stack, others)
    assert_right_for_all(stack, others)
    stack.destroy()
    assert count(stack, others) == 0


def test_roles_are_not_taken_away(stack: Stack, names: Names) -> None:
    """Removing the roles is refused: it would leave the tables to the administrator and break the contract."""
    declare(stack, names)
    stack.up()
    stack.pulumi("config", "rm", "roles")
    for words in (["preview"], ["up", "--yes", "--skip-preview"]):
        assert "the stack has no roles any more" in stack.pulumi(*words, code=1)
    declare(stack, names)
    assert_no_drift(stack)


def test_the_tables_are_given_by_hand(stack: Stack, names: Names) -> None:
    """One documented statement gives the tables to another owner, and one gives them back to the login."""
    stack.set("onDestroy", "retain")
    declare(stack, names)
    stack.up()
    other = quoted(f"other {names.owner}")
    ask(stack.conninfo, f"CREATE ROLE {other}; GRANT CREATE ON DATABASE {name_of(stack.conninfo)} TO {other}")
    ask(stack.conninfo, f"REASSIGN OWNED BY {quoted(names.owner)} TO {other}")
    stack.pulumi("config", "rm", "--path", "roles.owner")
    stack.pulumi("config", "set", "--path", "roles.owner.existing", f"other {names.owner}")
    stack.up()
    sample(stack, names)
    assert_no_drift(stack)
    assert_right_for_all(stack, replace(names, owner=f"other {names.owner}"))
    stack.destroy()
    stack.pulumi("config", "rm", "roles")
    assert "REASSIGN OWNED" in stack.up(code=1)
    ask(stack.conninfo, f"REASSIGN OWNED BY {other} TO postgres")
    stack.up()
    assert_no_drift(stack)
    assert run_as(stack, stack.conninfo, *VERIFY, "--strict").returncode == 0


def test_an_up_that_was_killed_while_it_made_roles(stack: Stack, names: Names) -> None:
    """A role that the state does not know was just created: dropped, it is created again."""
    declare(stack, names)
    with stack.start("up", "--yes", "--skip-preview") as process:
        until(lambda: count(stack, names) > 0)
        process.kill()
    kill_all_in(stack.folder)
    stack.pulumi("cancel", "--yes")
    roles = {names.owner, names.writer, names.reader}
    while True:
        done = run(["pulumi", "up", "--yes", "--skip-preview"], stack.folder, **stack.settings)
        if done.returncode == 0:
            break
        unknown = {name for name in roles if f"the role {name} exists already, and is not in the stack" in done.stdout}
        assert unknown, done.stdout
        for name in unknown:
            ask(stack.conninfo, f"DROP ROLE {quoted(name)}")
        roles -= unknown
    assert_no_drift(stack)
    sample(stack, names)
    assert_right_for_all(stack, names)


def test_a_database_that_is_closed_to_everybody(stack: Stack, names: Names) -> None:
    """The stack's roles can connect even if CONNECT was revoked from PUBLIC."""
    ask(stack.conninfo, f"REVOKE ALL ON DATABASE {name_of(stack.conninfo)} FROM PUBLIC")
    declare(stack, names)
    stack.up()
    assert_no_drift(stack)
    sample(stack, names)
    assert_right_for_all(stack, names)


def test_a_password_is_rotated_by_one_up(stack: Stack, names: Names) -> None:
    """One up changes a given or a generated password, and runs no migration."""
    declare(stack, names)
    stack.up()
    old = {kind: login(stack, names, kind) for kind in ("writer", "reader")}
    stack.pulumi("config", "set", "--secret", "writerPassword", "it's \\ new")
    stack.set("passwordVersion", "2")
    assert "applied in" not in stack.up()
    assert password(stack, "writer") == "it's \\ new"
    for kind in ("writer", "reader"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            ask(old[kind], "SELECT 1")
        assert ask(login(stack, names, kind), "SELECT 1") == [(1,)]
    assert_no_drift(stack)


def test_a_role_dropped_by_hand_is_made_again(stack: Stack, names: Names) -> None:
    declare(stack, names)
    stack.up()
    ask(stack.conninfo, f"DROP OWNED BY {quoted(names.reader)}; DROP ROLE {quoted(names.reader)}")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up()
    assert_no_drift(stack)
    sample(stack, names)
    assert_right_for_all(stack, names)


def test_a_password_changed_by_hand_is_seen_and_mended(stack: Stack, names: Names) -> None:
    """A superuser's refresh compares the verifier; verify of any login tries the password."""
    declare(stack, names)
    stack.up()
    ask(stack.conninfo, f"ALTER ROLE {quoted(names.reader)} PASSWORD 'another'")
    seen = run_as(stack, login(stack, names, "reader"), *VERIFY)
    assert seen.returncode == 3
    assert "password authentication failed" in seen.stdout
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up()
    assert ask(login(stack, names, "reader"), "SELECT 1") == [(1,)]
    assert_no_drift(stack)


def test_an_owner_of_objects_elsewhere_is_not_dropped(
    stack: Stack, names: Names, new_database: Callable[[str], str]
) -> None:
    """The server's error names the objects; once these are dropped, destroy continues."""
    elsewhere = new_database("template0")
    declare(stack, names)
    stack.up()
    ask(elsewhere, f"CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO {quoted(names.owner)}")
    output = stack.destroy(code=1)
    assert "some objects depend on it" in output
    assert "Traceback" not in output
    assert ask(elsewhere, "SELECT to_regclass('theirs')::text") == [("theirs",)]
    ask(elsewhere, "DROP TABLE theirs")
    stack.destroy()
    assert count(stack, names) == 0


def test_another_on_destroy_replaces_no_grant(stack: Stack, names: Names) -> None:
    """A preview shows the grants on tables as replaced, for it does not know the tables; up replaces none."""
    declare(stack, names)
    stack.up()
    stack.set("onDestroy", "retain")
    preview = stack.pulumi("preview")
    assert "onDestroy: revert becomes retain with the next up; until then a destroy obeys revert" in preview
    assert "4 to replace" in preview
    output = stack.up()
    assert "1 updated" in output
    assert "replaced" not in output
    stack.up("--expect-no-changes")
    stack.set("onDestroy", "revert")
    stack.up()
