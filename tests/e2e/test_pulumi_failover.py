"""Servers that become unavailable on the real engine: failover, a restart, a dead address, a connection limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.binaries import INSTALLED
from local.server import HOST, Server
from tests.conftest import ask, conninfo, kill, name_of, new_server, remove, until
from tests.e2e.conftest import EVERYTHING, WHAT_IS_THERE, Stack, run
from tests.names import half_dead
from tests.servers import Standby, standby

WRITTEN = "SELECT xmin::text, xmax::text FROM pgvector_seed.{}"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'pgvector-seed'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server that the test may stop."""
    own = new_server(tmp_path / "server", max(INSTALLED))
    yield own
    remove(own)


@contextmanager
def two_hosts(stack: Stack, server: Server, folder: Path) -> Iterator[Standby]:
    """Give the stack two hosts, of which the first is a standby, and yield the standby."""
    try:
        with standby(server, folder / "standby") as copy:
            ports = f"{copy.environment['PGPORT']},{server.environment['PGPORT']}"
            stack.settings |= {"PGHOST": f"{HOST},{HOST}", "PGPORT": ports}
            yield copy
    finally:
        server.start()  # its databases are dropped in the end


def fail_over(stack: Stack, server: Server, copy: Standby) -> str:
    """Stop the primary, promote the standby, and return the conninfo of the standby's database."""
    server.stop()
    ask(conninfo(copy, "postgres"), "SELECT pg_promote()")
    return make_conninfo(stack.conninfo, port=copy.environment["PGPORT"])


def written(database: str) -> list[object]:
    """Return the ids of the transactions that wrote the ledger and the contract."""
    return [ask(database, WRITTEN.format(table)) for table in ("migrations", "deployment")]


def test_a_standby_is_promoted_between_preview_and_up(stack: Stack, server: Server, tmp_path: Path) -> None:
    with two_hosts(stack, server, tmp_path) as copy:
        assert "warning" not in stack.pulumi("preview")
        promoted = fail_over(stack, server, copy)
        stack.up()
        assert ask(promoted, WHAT_IS_THERE) == EVERYTHING


def test_a_failover_after_an_up_changes_nothing(stack: Stack, server: Server, tmp_path: Path) -> None:
    """The contract names both servers and stays as it is; only the provider's address changes."""
    with two_hosts(stack, server, tmp_path) as copy:
        stack.up()
        stack.up("--expect-no-changes")
        before = written(stack.conninfo)
        promoted = fail_over(stack, server, copy)
        output = stack.up()
        assert "applied in" not in output
        assert "replace" not in output
        assert written(promoted) == before
        stack.up("--expect-no-changes")
        copy.stop()
        output = stack.pulumi("preview")
        assert f"gets {HOST}:{copy.environment['PGPORT']}, because no server could be reached" in output
        assert "1 warning" in output
        assert "Traceback" not in output


def test_the_server_is_killed_and_restarted_during_an_up(stack: Stack, server: Server) -> None:
    stack.write("migrations/0002_slow.up.sql", "SELECT pg_advisory_xact_lock(7);\nCREATE TABLE slow ();")
    with closing(psycopg.connect(stack.conninfo, autocommit=True)) as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        with stack.start("up", "--yes", "--skip-preview") as process:
            until(lambda: ask(stack.conninfo, WAITING))
            kill(server)
            server.start()
            output, _ = process.communicate()
    assert process.returncode != 0
    assert "the connection was lost" in output
    assert "Traceback" not in output
    assert "0002_slow applied in" in stack.up()
    stack.up("--expect-no-changes")


def test_a_name_whose_first_address_is_dead(stack: Stack, server: Server, tmp_path: Path) -> None:
    """Both clients try the second address."""
    stack.set("policy", "warn")  # that host is not loopback by its name
    with half_dead(server, tmp_path) as name:
        done = run([*name.prefix, "pulumi", "up", "--yes"], stack.folder, **{**stack.settings, **name.settings})
    assert done.returncode == 0, done.stdout
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


def test_a_limit_of_connections(stack: Stack) -> None:
    """An up is refused in one line while the limit is reached, and alone stays within the limit."""
    name = name_of(stack.conninfo)
    ask(stack.conninfo, "CREATE EXTENSION vector; CREATE ROLE al LOGIN PASSWORD 's3cret'")
    ask(stack.conninfo, f"ALTER DATABASE {name} CONNECTION LIMIT 5; ALTER DATABASE {name} OWNER TO al")
    stack.settings |= {"PGUSER": "al", "PGPASSWORD": "s3cret"}
    with ExitStack() as logins:
        for _ in range(5):
            logins.enter_context(closing(psycopg.connect(make_conninfo(stack.conninfo, user="al", password="s3cret"))))
        output = stack.up(code=1)
        assert "too many connections for database" in output
        assert "Traceback" not in output
    stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
