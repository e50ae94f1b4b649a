"""The reader's settings on the real engine: on the role, on the database, and by an ordinary login."""

from __future__ import annotations

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.settings import stored_settings
from tests.conftest import ask, name_of
from tests.e2e.conftest import Stack
from tests.e2e.roles import SAMPLE, VERIFY, assert_no_drift, assert_right_for_all, declare, login, lose_state, run_as
from tests.e2e.test_pulumi_managed import deployer  # noqa: F401  # a fixture
from tests.roles import Names, quoted

EF_SEARCH = "SELECT current_setting('hnsw.ef_search', true)"


def stored(stack: Stack, role: str | None = None) -> dict[str, str]:
    with connect(stack.conninfo) as connection:
        return stored_settings(connection, role)


def set_one(stack: Stack, name: str, value: str) -> None:
    """Type the command that docs/configuration.md has."""
    stack.pulumi("config", "set", "--path", f'readerSettings["{name}"]', value)


def remove_one(stack: Stack, name: str) -> None:
    stack.pulumi("config", "rm", "--path", f'readerSettings["{name}"]')


def test_on_the_role(stack: Stack, names: Names) -> None:
    """The reader's sessions have them, verify compares them, and a change by hand is shown and mended."""
    declare(stack, names)
    stack.up()
    assert_no_drift(stack)
    set_one(stack, "hnsw.ef_search", "100")
    set_one(stack, "hnsw.iterative_scan", "strict_order")
    set_one(stack, "jit", "false")
    assert "2 updated" in stack.up(), "the settings, and the declaration in the ledger"
    as_declared = {"hnsw.ef_search": "100", "hnsw.iterative_scan": "strict_order", "jit": "off"}
    assert (stored(stack, names.reader), stored(stack)) == (as_declared, {})
    reader = login(stack, names, "reader")
    assert ask(reader, EF_SEARCH) == [("100",)]
    assert ask(login(stack, names, "writer"), EF_SEARCH) == [(None,)]
    assert_no_drift(stack)
    assert run_as(stack, login(stack, names, "writer"), *SAMPLE).returncode == 0
    assert_right_for_all(stack, names)

    ask(stack.conninfo, f"ALTER ROLE {quoted(names.reader)} IN DATABASE {name_of(stack.conninfo)} RESET jit")
    failed = run_as(stack, reader, *VERIFY)
    assert failed.returncode == 1
    assert f"jit is not set for {names.reader}, off is declared" in failed.stdout.replace("\n", " ")
    refreshed = stack.pulumi("refresh", "--yes", "--skip-preview", "--diff")
    assert "jit" in refreshed
    assert "1 updated" in refreshed
    assert "1 updated" in stack.up()
    assert stored(stack, names.reader) == as_declared
    assert_right_for_all(stack, names)

    remove_one(stack, "jit")
    remove_one(stack, "hnsw.iterative_scan")
    set_one(stack, "hnsw.ef_search", "200")
    stack.up()
    assert stored(stack, names.reader) == {"hnsw.ef_search": "200"}
    assert_no_drift(stack)
    stack.pulumi("config", "rm", "readerSettings")
    stack.up()
    assert stored(stack, names.reader) == {}
    assert_no_drift(stack)


def test_on_the_database_and_what_destroy_does(stack: Stack, names: Names) -> None:
    """Without roles all sessions have them; revert removes them, retain keeps them."""
    set_one(stack, "hnsw.ef_search", "100")
    ask(stack.conninfo, f"ALTER DATABASE {name_of(stack.conninfo)} SET work_mem = '8MB'")
    stack.up()
    assert stored(stack) == {"hnsw.ef_search": "100", "work_mem": "8MB"}
    assert_no_drift(stack)
    declare(stack, names)
    stack.up()
    assert (stored(stack, names.reader), stored(stack)) == ({"hnsw.ef_search": "100"}, {"work_mem": "8MB"})
    stack.destroy()
    assert stored(stack) == {"work_mem": "8MB"}
    stack.pulumi("config", "rm", "roles")
    stack.up()
    stack.destroy()
    assert stored(stack) == {"work_mem": "8MB"}
    stack.set("onDestroy", "retain")
    stack.up()
    stack.destroy()
    assert stored(stack) == {"hnsw.ef_search": "100", "work_mem": "8MB"}
    lose_state(stack)
    stack.pulumi("config", "rm", "readerSettings")
    stack.up()
    assert stored(stack) == {"work_mem": "8MB"}, "the ledger had the last declaration"


def test_by_an_ordinary_login(deployer: Stack, names: Names) -> None:  # noqa: F811
    """A login with CREATEROLE that owns the database sets them on the reader that it made, and on the database."""
    ask(deployer.administrator, "CREATE EXTENSION vector")
    deployer.set("createExtension", "false")
    set_one(deployer, "hnsw.ef_search", "100")
    deployer.up()
    assert stored(deployer) == {"hnsw.ef_search": "100"}
    declare(deployer, names)
    deployer.up()
    assert (stored(deployer, names.reader), stored(deployer)) == ({"hnsw.ef_search": "100"}, {})
    assert_no_drift(deployer)
    assert run_as(deployer, login(deployer, names, "writer"), *SAMPLE).returncode == 0
    assert_right_for_all(deployer, names)
    deployer.destroy()


def test_a_setting_that_the_server_refuses(stack: Stack) -> None:
    """The error has the server's words and the command; nothing is stored, and no migration runs."""
    set_one(stack, "hnsw.ef_search", "5000")
    output = stack.up(code=1)
    assert "5000 is outside the valid range" in output
    assert """pulumi config set --path 'readerSettings["hnsw.ef_search"]'""" in output
    assert "applied in" not in output
    assert "Traceback" not in output
    assert stored(stack) == {}
    set_one(stack, "search_path", "evil")
    assert "must be a setting of an extension" in stack.pulumi("preview", code=1)
