"""Variables that lead to another database: it is neither mistaken for the stack's nor changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.server import HOST
from tests.conftest import ask, conninfo, name_of
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack
from tests.e2e.elsewhere import ELSEWHERE, NOBODY, VERBS, Watched, strays, watched
from tests.e2e.roles import assert_no_drift, declare
from tests.roles import Names

__all__ = ["watched"]

DRIVERS = "pq: environment variable $PGREQUIREPEER is not supported"
PROGRAM = "Run the same command without it: env -u {} pulumi"
KEEPING = [verb for verb in VERBS if verb != "destroy"]
ANOTHER = "this database has the ledger"


def words(stray: str, verb: str) -> str:
    """Return the error of a verb for a stray variable beside a configured address, or "" if there is none.

    The driver refuses before the program does, and in verbs that run no program. Both sides ignore the other
    variables.
    """
    if stray == "PGHOST":
        return ""
    return DRIVERS if verb in ("up --refresh", "refresh", "destroy") else PROGRAM.format(stray)


@pytest.mark.parametrize(("stray", "roles"), [("PGSERVICE", True), ("PGHOSTADDR", False), ("PGHOST", False)])
def test_beside_an_address_in_the_configuration(
    watched: Watched, names: Names, tmp_path: Path, stray: str, roles: bool
) -> None:
    """Regression: PGSERVICE, PGHOSTADDR or a list in PGHOST led the provider to the other server.

    A refresh then removed the missing resources from the state, and a destroy dropped the other database's
    extension.
    """
    stack, variables = watched.stack, strays(watched, tmp_path)[stray]
    watched.name_the_address()
    if roles:
        declare(stack, names)
    stack.up()
    keeping = KEEPING if words(stray, "destroy --run-program") else KEEPING[:-1]
    for verb in keeping:
        watched.keeps_state(verb, variables, words(stray, verb))
    watched.stop()
    for verb in ("refresh", "up --refresh"):
        watched.keeps_state(verb, variables, "error")
    watched.start()
    assert_no_drift(stack)
    expected = words(stray, "destroy")
    assert expected in watched.run("destroy", variables, code=1 if expected else 0)
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_beside_an_address_when_all_is_kept(watched: Watched, tmp_path: Path) -> None:
    """Under retain, destroy forgets the stack without a connection, despite any stray variable."""
    stack = watched.stack
    watched.name_the_address()
    stack.set("onDestroy", "retain")
    for stray, variables in strays(watched, tmp_path).items():
        stack.up()
        expected = words(stray, "destroy --run-program")
        watched.run("destroy --run-program", variables, code=1 if expected else 0)
        watched.run("destroy", variables, code=0)
        assert watched.state() == ([], [])
        assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


@pytest.mark.parametrize("roles", [False, True])
def test_another_address_in_the_environment(watched: Watched, names: Names, roles: bool) -> None:
    """Without a configured address the variables are the stack's, and must lead to the stack's database.

    Regression: a refused up left the provider's address at the other server, which the next refresh read, and
    whose extension the next destroy dropped.
    """
    stack = watched.stack
    if roles:
        declare(stack, names)
    stack.up()
    settings = {"PGHOST": ELSEWHERE}
    for verb in ("up", "up --refresh", "refresh --run-program", "destroy --run-program"):
        watched.keeps_state(verb, settings, ANOTHER, asked=True)
    port = {"PGPORT": watched.victim.server.environment["PGPORT"]}
    for variables in ({"PGHOST": f"{NOBODY},{ELSEWHERE}"}, port):
        watched.keeps_state("up", variables, ANOTHER, asked=True)
    for verb in ("preview", "up", "up --refresh", "destroy --run-program"):
        watched.keeps_state(verb, {"PGDATABASE": "postgres"}, "another database is another stack")
    before = watched.state()
    assert "4 to update" in watched.run("preview", settings, code=0, asked=True)
    assert watched.state() == before
    watched.keeps_state("refresh", settings)
    assert_no_drift(stack)
    watched.run("destroy", settings, code=0)
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
    assert watched.state() == ([], [])


def test_an_address_that_nobody_answers_at(watched: Watched) -> None:
    """Regression: the provider's address became one where no server listened yet."""
    watched.stack.up()
    for verb in ("up", "destroy --run-program"):
        watched.keeps_state(verb, {"PGHOST": NOBODY}, f'"{NOBODY}"')


def test_the_database_moved(watched: Watched) -> None:
    """Both sides follow the variables to a moved database, whose ledger is the same."""
    stack = watched.stack
    stack.up()
    stack.settings["PGPORT"] = watched.server.environment["PGPORT"]
    watched.stop()
    assert "applied in" not in stack.up()
    assert_no_drift(stack)
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_an_empty_database_at_another_address(watched: Watched) -> None:
    """An empty database counts as a new server; one that has pgvector enabled is refused."""
    stack, other = watched.stack, watched.victim.server
    stack.up()
    ask(watched.victim.conninfo, "DROP SCHEMA pgvector_seed CASCADE; DROP TABLE embeddings")
    for verb in ("up", "destroy --run-program"):
        watched.keeps_state(verb, {"PGHOST": ELSEWHERE}, "has pgvector but no ledger", asked=True)
    name = name_of(stack.conninfo)
    for statement in (f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE template0"):
        ask(conninfo(other, "postgres"), statement)
    stack.settings["PGHOST"] = ELSEWHERE
    stack.up(code=1)
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up()
    assert ask(watched.victim.conninfo, WHAT_IS_THERE) == EVERYTHING
    assert_no_drift(stack)


def test_a_stack_of_before_gains_the_protection(stack: Stack) -> None:
    """One up adds the protection to an older stack, runs no SQL and replaces nothing."""
    stack.up()
    written = ask(stack.conninfo, "SELECT xmin::text FROM pgvector_seed.deployment")
    text = stack.pulumi("stack", "export", "--show-secrets")
    assert "hostaddr=''" in text
    exported = json.loads(text.replace("hostaddr='' ", ""))
    for resource in exported["deployment"]["resources"]:
        for side in ("inputs", "outputs"):
            resource.get(side, {}).get("__internal", {}).pop("envVarMappings", None)
    stack.write("state.json", json.dumps(exported))
    stack.pulumi("stack", "import", "--file", "state.json")
    output = stack.up()
    assert "3 updated" in output
    assert "applied in" not in output
    assert ask(stack.conninfo, "SELECT xmin::text FROM pgvector_seed.deployment") == written
    assert "PGREQUIREPEER" in stack.pulumi("stack", "export")
    assert_no_drift(stack)
    assert DRIVERS in stack.pulumi("refresh", "--yes", "--skip-preview", code=1, PGHOSTADDR=HOST)
