"""Through a transaction pooler: migrations are refused, and other commands work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from local.workspace import ROOT
from tests.conftest import ask, pg_variables
from tests.proxies import pooler, renaming

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'pgvector_seed')"


@pytest.fixture
def pooled(server: Server, database: str) -> Iterator[str]:
    """Return the database's conninfo through a transaction pooler."""
    with pooler(server) as proxy:
        yield make_conninfo(database, port=proxy.port)


def command(conninfo: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with these words on the database."""
    environment = {**os.environ, **pg_variables(conninfo)}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_pooler_gives_its_clients_a_key_of_its_own(pooled: str) -> None:
    """Its own cancel key identifies a pooler: many of its clients share one server process."""
    with psycopg.connect(pooled) as connection:
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        assert pid != connection.info.backend_pid


@pytest.mark.parametrize("words", [["apply"], ["baseline", "0001_create_embeddings"]], ids=lambda words: words[0])
def test_migrations_are_refused_through_a_pooler(pooled: str, database: str, words: list[str]) -> None:
    """The lock would be held by a session that other clients use next, so it would exclude nobody or all."""
    done = command(pooled, "seed", "migrate", *words)
    assert done.returncode == 2
    assert "the connection goes through a pooler" in done.stderr
    assert "PGHOST" in done.stderr
    assert ask(database, TABLES) == [(0,)]


def test_a_proxy_that_keeps_sessions_is_let_through(server: Server, database: str) -> None:
    """A session-preserving proxy of a cloud, which makes up cancel keys as well, is accepted."""
    with renaming(server) as proxy:
        done = command(make_conninfo(database, port=proxy.port), "seed", "migrate", "apply")
        assert done.returncode == 0, done.stderr
        assert ask(database, TABLES) != [(0,)]


def test_the_rest_works_through_a_pooler(pooled: str, database: str) -> None:
    assert command(database, "seed", "migrate", "apply").returncode == 0
    sampled = command(pooled, "seed", "sample")
    assert sampled.returncode == 0, sampled.stdout + sampled.stderr
    verified = command(pooled, "seed", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert command(pooled, "seed", "migrate", "status").returncode == 0
