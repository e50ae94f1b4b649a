"""The program on the real engine, with the real provider and a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from local.server import Server
from tests.conftest import PASSWORD, ask, conninfo, name_of
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack, readme_block, run


def test_from_nothing_to_everything_and_back(stack: Stack) -> None:
    """Up, a second up and a refresh without changes, a second migration, and destroy work in turn."""
    output = stack.pulumi("up", "--yes")
    assert "0001_create_embeddings applied in" in output
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    stack.up("--expect-no-changes")
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    contract = json.loads(stack.pulumi("stack", "output", "contract", "--json"))
    assert contract == ask(stack.conninfo, "SELECT contract FROM pgvector_seed.deployment")[0][0]
    assert contract["tables"][0]["name"] == "public.embeddings"

    stack.write("migrations/0002_b.up.sql", "CREATE TABLE b ()")
    stack.write("migrations/0002_b.down.sql", "DROP TABLE b")
    assert "0002_b" in stack.pulumi("preview", "--diff")
    assert ask(stack.conninfo, "SELECT to_regclass('b')") == [(None,)]
    assert "0002_b applied in" in stack.up()
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_state_lost(stack: Stack) -> None:
    """After the state was lost, the next up finds everything in place and changes nothing in the database."""
    stack.up()
    ledger = ask(stack.conninfo, "SELECT * FROM pgvector_seed.migrations")
    stack.pulumi("stack", "rm", "--yes", "--force", "--preserve-config")
    stack.pulumi("stack", "init", "dev")
    assert "applied in" not in stack.up()
    assert ask(stack.conninfo, "SELECT * FROM pgvector_seed.migrations") == ledger
    stack.up("--expect-no-changes")


def test_an_extension_in_another_schema_is_used_where_it_is(stack: Stack) -> None:
    """The second up does not move an extension that exists in another schema."""
    ask(stack.conninfo, "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
    stack.up()
    stack.up("--expect-no-changes")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up("--expect-no-changes")
    assert ask(
        stack.conninfo, "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
    ) == [("ext",)]


def test_retain_keeps_everything(stack: Stack) -> None:
    stack.set("onDestroy", "retain")
    stack.up()
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    assert "applied in" not in stack.up()
    stack.up("--expect-no-changes")


def test_retain_makes_no_connection_on_destroy(stack: Stack, server: Server) -> None:
    """Under retain, destroy works even if the server is gone for ever."""
    stack.set("onDestroy", "retain")
    stack.up()
    name = name_of(stack.conninfo)
    ask(conninfo(server, "postgres"), f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    stack.destroy()
    assert json.loads(stack.pulumi("stack", "export"))["deployment"].get("resources", []) == []


@pytest.mark.parametrize(("first", "then", "left"), [("revert", "retain", EVERYTHING), ("retain", "revert", NOTHING)])
def test_destroy_obeys_the_last_up(stack: Stack, first: str, then: str, left: object) -> None:
    """After an up with a new value of onDestroy, the new value holds, for the extension as well."""
    stack.set("onDestroy", first)
    stack.up()
    stack.set("onDestroy", then)
    stack.up()
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == left


def test_destroy_without_an_up_obeys_the_old_value(stack: Stack) -> None:
    """Without an up, destroy obeys the old value: docs/configuration.md warns of it, and make destroy refuses."""
    stack.set("onDestroy", "retain")
    stack.up()
    stack.set("onDestroy", "revert")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


def test_revert_stops_at_what_others_made_with_the_extension(stack: Stack) -> None:
    """Destroy never drops the extension with CASCADE."""
    stack.up()
    ask(stack.conninfo, "CREATE TABLE theirs (v vector(3))")
    assert "other objects depend on it" in stack.destroy(code=1)
    assert ask(stack.conninfo, "SELECT to_regclass('theirs')::text, to_regtype('vector')::text") == [
        ("theirs", "vector")
    ]


def test_a_new_address_is_an_update_and_runs_no_sql(stack: Stack) -> None:
    """A changed host does not replace the provider, which would drop and recreate the extension."""
    stack.up()
    before = ask(stack.conninfo, "SELECT oid FROM pg_extension WHERE extname = 'vector'")
    output = stack.up(PGHOST="localhost")
    assert "replace" not in output
    assert "applied in" not in output
    assert ask(stack.conninfo, "SELECT oid FROM pg_extension WHERE extname = 'vector'") == before
    assert ask(stack.conninfo, "SELECT contract #>> '{connection,host}' FROM pgvector_seed.deployment") == [
        ("localhost",)
    ]


def test_the_file_of_a_stack_is_not_needed_to_hold_a_connection(stack: Stack) -> None:
    """The configuration wins over the environment, and the password is encrypted in the stack's file."""
    stack.set("host", "127.0.0.1")
    stack.pulumi("config", "set", "--secret", "password", PASSWORD)
    stack.up(PGHOST="nosuch.invalid", PGPASSWORD="wrong")
    text = (stack.folder / "Pulumi.dev.yaml").read_text()
    assert PASSWORD not in text
    assert re.search(r"password:\s+secure:", text)


def test_the_documented_pipeline(stack: Stack) -> None:
    """The commands work as printed, without examples/pipeline.sh."""
    script = "pulumi stack init mine\n" + readme_block("run: pipeline", "docs/pipelines.md")
    done = subprocess.run(
        ["bash", "-euxc", script],
        cwd=stack.folder,
        env={
            **os.environ,
            **{name: value for name, value in stack.settings.items() if name != "PULUMI_STACK"},
            "PATH": f"{stack.folder / '.venv' / 'bin'}:{os.environ['PATH']}",
            "PULUMI_OPTION_YES": "true",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 7 answers are the article's." in done.stdout
    assert re.search(r"15 checks: \d+ passed, \d+ not declared", done.stdout)


def test_verify_asks_the_stack_for_its_contract(stack: Stack) -> None:
    """Verify with --stack holds the database against the contract in the stack's outputs."""
    stack.up()
    command = [sys.executable, "-m", "seed", "verify", "--stack"]
    assert run([sys.executable, "-m", "seed", "sample"], stack.folder, **stack.settings).returncode == 0
    right = run([*command, "dev"], stack.folder, **stack.settings)
    assert right.returncode == 0, right.stdout
    assert "pass  ledger" in right.stdout
    wrong = run([*command, "nowhere"], stack.folder, **stack.settings)
    assert wrong.returncode == 2
    assert "pulumi does not print the contract of the stack nowhere: " in wrong.stdout
    assert "no stack named 'nowhere' found" in wrong.stdout
