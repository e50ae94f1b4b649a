"""Faults on the real engine: their messages, and the state that they leave."""

from __future__ import annotations

import pytest

from tests.conftest import PASSWORD, ask, name_of
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack

SLOW = "SELECT pg_sleep(2); CREATE TABLE slow ();"


def test_edited_history_is_refused_at_preview_on_one_line(stack: Stack) -> None:
    stack.up()
    stack.write("migrations/0001_create_embeddings.up.sql", "CREATE TABLE embeddings (id int)")
    output = stack.pulumi("preview", code=1)
    assert "0001_create_embeddings was edited after it was applied" in output
    assert "Traceback" not in output


def test_a_failing_migration_is_told_once_without_a_traceback(stack: Stack) -> None:
    stack.write("migrations/0002_b.up.sql", "SELECT 1;\nSELECT nope;")
    for _ in range(3):  # the engine's SIGINT meets the program at another moment each time
        output = stack.up(code=1)
        assert '0002_b.up.sql, line 2: column "nope" does not exist' in output
        assert "Traceback" not in output
        assert "KeyboardInterrupt" not in output
    assert ask(stack.conninfo, "SELECT id FROM pgvector_seed.migrations") == [("0001_create_embeddings",)]


def test_a_failed_up_keeps_the_outputs(stack: Stack) -> None:
    """The engine shows them as removed, for the program could not repeat them; the state keeps them."""
    stack.up()
    before = stack.pulumi("stack", "output", "--json")
    stack.write("migrations/0002_b.up.sql", "SELECT nope;")
    assert "- contract" in stack.up(code=1)
    assert "contract" not in stack.up("--suppress-outputs", code=1)
    assert stack.pulumi("stack", "output", "--json") == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PGPASSWORD": "wr0ng-passw0rd"}, "password authentication failed"),
        ({"PGPORT": "1"}, "Connection refused"),
        ({"PGSERVICE": "prod"}, "env -u PGSERVICE pulumi ..."),
        ({"PGHOST": "/tmp"}, "pulumi config set host"),
        ({"PGSSLMODE": "require"}, "SSL"),
    ],
)
def test_a_server_that_cannot_be_used(stack: Stack, settings: dict[str, str], words: str) -> None:
    output = stack.up(code=1, **settings)
    assert words in output
    assert "Traceback" not in output
    assert "wr0ng-passw0rd" not in output
    assert PASSWORD not in output


def test_a_server_without_pgvector(stack: Stack) -> None:
    name = name_of(stack.conninfo)
    ask(stack.conninfo, f"ALTER DATABASE {name} SET extension_control_path = '/nowhere'")
    output = stack.up(code=1)
    assert "pgvector/pgvector:pg18" in output
    assert "Traceback" not in output


def test_faults_of_the_configuration_are_told_together(stack: Stack) -> None:
    stack.set("prot", "1")
    stack.set("onDestroy", "keep")
    output = stack.pulumi("preview", code=1)
    assert "pulumi config rm prot" in output
    assert "pulumi config set onDestroy retain" in output
    assert "Traceback" not in output


def test_a_declared_table_that_nothing_makes_is_refused_at_preview(stack: Stack) -> None:
    """Regression: the migrations were applied first, or all but the last. Without the database, up refuses."""
    stack.pulumi("config", "set", "--path", "tables.docs.rows", "1")
    for words in (["preview"], ["up", "--yes", "--skip-preview"]):
        output = stack.pulumi(*words, code=1)
        assert "the stack declares the table docs" in output
        assert "Traceback" not in output
        assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
    stack.pulumi("preview", PGPORT="1")
    stack.write("migrations/0002_docs.up.sql", "CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(3))")
    stack.up()
    stack.up("--expect-no-changes")


def test_bad_migration_files_are_told_without_a_traceback(stack: Stack) -> None:
    stack.write("migrations/0002_b.up.sql", "")
    output = stack.pulumi("preview", code=1)
    assert "0002_b.up.sql: empty" in output
    assert "Traceback" not in output


def test_tables_that_are_there_without_a_ledger(stack: Stack) -> None:
    ask(stack.conninfo, "CREATE TABLE embeddings AS SELECT 1 AS kept")
    output = stack.up(code=1)
    assert "42P07" in output
    assert "python -m seed migrate baseline 0001_create_embeddings" in output
    assert ask(stack.conninfo, "SELECT kept FROM embeddings") == [(1,)]


HOST_OF_A_RESOURCE = """
import pulumi
from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.database import VectorDatabase
from made_here import Server

host = Server("server", "{host}").host
pulumi.export("contract", VectorDatabase("database", VectorDatabaseArgs(host=host)).contract)
"""
MADE_HERE = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Provider(ResourceProvider):
    def create(self, props):
        return CreateResult("id", {"host": props["wanted"]})

class Server(Resource, module="test", name="Server"):
    host: pulumi.Output[str]

    def __init__(self, name, wanted):
        super().__init__(Provider(), name, {"wanted": wanted, "host": None})
"""


def test_a_host_that_is_unknown_at_preview(stack: Stack) -> None:
    """The address of a server created in the same program is unknown at preview, where Terraform cannot plan."""
    stack.write("__main__.py", HOST_OF_A_RESOURCE.format(host="127.0.0.1"))
    stack.write("made_here.py", MADE_HERE)
    assert "8 to create" in stack.pulumi("preview")
    stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


def test_a_fault_of_a_host_that_is_known_late_is_told(stack: Stack) -> None:
    """A fault found inside an apply is shown, though an error raised there may crash the Python host."""
    stack.write("__main__.py", HOST_OF_A_RESOURCE.format(host="/var/run/postgresql"))
    stack.write("made_here.py", MADE_HERE)
    assert "connects by TCP" in stack.up(code=1)


def test_a_killed_up_is_continued(stack: Stack) -> None:
    """After kill -9 of the CLI during a migration, cancel and up complete the deployment."""
    stack.write("migrations/0002_slow.up.sql", SLOW)
    stack.write("migrations/0003_c.up.sql", "CREATE TABLE c ()")
    with stack.start("up", "--yes", "--skip-preview") as process:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        while ask(stack.conninfo, asleep) == [(0,)]:
            assert process.poll() is None
        process.kill()
    stack.pulumi("cancel", "--yes")
    stack.up()
    assert ask(stack.conninfo, "SELECT id FROM pgvector_seed.migrations ORDER BY position") == [
        ("0001_create_embeddings",),
        ("0002_slow",),
        ("0003_c",),
    ]
    stack.up("--expect-no-changes")


def test_what_the_policy_forbids_is_refused_at_preview(stack: Stack) -> None:
    """A mandatory violation prevents every declaration; a warning lets the stack pass."""
    stack.set("minimumVersion", "99.0")
    for words in (["preview"], ["up", "--yes", "--skip-preview"]):
        output = stack.pulumi(*words, code=1)
        assert "Upgrade it on the server to 99.0 or later" in output
        assert "pulumi config set policy warn" in output
        assert "Traceback" not in output
    stack.set("policy", "warn")
    assert "Upgrade it on the server to 99.0 or later" in stack.pulumi("preview")
