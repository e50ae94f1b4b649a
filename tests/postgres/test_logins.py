"""Refused logins, and a host name with two addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.binaries import INSTALLED
from local.server import HOST, Server
from local.workspace import ROOT
from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.postgres.connection import connect
from tests.conftest import TEMPLATE, ask, conninfo, name_of, new_server, pg_variables, remove
from tests.names import half_dead

LOGINS, LIMIT = 50, 5
COMMANDS = (("seed", "migrate", "status"), ("seed", "verify"), ("seed", "sample"))


@pytest.fixture
def role(database: str) -> Iterator[Callable[[str], str]]:
    """Return a function that creates a login without privileges and returns its conninfo. Drops it at the end."""
    name = f"al_{name_of(database).strip(chr(34)).split()[-1]}"

    def make(options: str) -> str:
        ask(database, f"CREATE ROLE {name} LOGIN PASSWORD 's3cret' {options}")
        return make_conninfo(database, user=name, password="s3cret")

    yield make
    ask(database, f"DROP ROLE {name}")


def run(words: tuple[str, ...], conninfo: str, *prefix: str, **settings: str) -> tuple[int, str]:
    """Run ``python -m`` with these words, and return the exit code and both outputs."""
    environment = {**os.environ, **pg_variables(conninfo), **settings}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("limited", ["DATABASE", "ROLE"])
def test_many_logins_at_once_against_a_limit(role: Callable[[str], str], database: str, limited: str) -> None:
    """Each login succeeds or is refused with the reason at once, and each command names that reason."""
    login = role("")
    name = name_of(database) if limited == "DATABASE" else login.split("user=")[1].split()[0]
    ask(database, f"ALTER {limited} {name} CONNECTION LIMIT {LIMIT}")
    everybody = Barrier(LOGINS + 1)

    def log_in(_: int) -> str:
        try:
            with connect(login):
                everybody.wait()
                everybody.wait()
                return "in"
        except UnreachableError as refused:
            everybody.wait()
            everybody.wait()
            return str(refused)

    with ThreadPoolExecutor(LOGINS) as threads:
        results = threads.map(log_in, range(LOGINS))
        everybody.wait(60)
        try:
            for command in COMMANDS:
                code, words = run(command, login)
                assert code == 3
                assert f"too many connections for {limited.lower()}" in words
                assert "Wait until other sessions have ended" in words
                assert f"ALTER {limited} ... CONNECTION LIMIT" in words
        finally:
            everybody.wait(60)
    outcomes = list(results)
    assert outcomes.count("in") == LIMIT
    refusals = set(outcomes) - {"in"}
    assert all(f"too many connections for {limited.lower()}" in words for words in refusals)


def error_of(conninfo: str) -> UnreachableError:
    """Return the error of a connection that is refused."""
    with pytest.raises(UnreachableError) as caught, connect(conninfo):
        pass
    return caught.value


def test_a_server_without_a_free_connection(tmp_path: Path) -> None:
    """The remedy names the setting of the server, and the view that shows who holds the connections."""
    server = new_server(tmp_path / "full", max(INSTALLED))
    try:
        ask(own := conninfo(server, TEMPLATE), "CREATE ROLE al LOGIN PASSWORD 's3cret'")
        ask(own, "ALTER SYSTEM SET max_connections = 4")
        ask(own, "ALTER SYSTEM SET superuser_reserved_connections = 1")
        ask(own, "ALTER SYSTEM SET reserved_connections = 0")
        ask(own, "ALTER SYSTEM SET max_wal_senders = 0")
        server.stop()
        server.start()
        login = make_conninfo(conninfo(server, TEMPLATE), user="al", password="s3cret")
        with ExitStack() as sessions:
            for _ in range(3):
                sessions.enter_context(connect(login))
            refusals = [error_of(login)]
            sessions.enter_context(connect(own))
            refusals.append(error_of(own))
        assert "connection slots are reserved" in refusals[0].message
        assert "too many clients already" in refusals[1].message
        assert all("pg_stat_activity" in refusal.remedy for refusal in refusals)
    finally:
        remove(server)


def test_a_login_that_may_not_connect_to_the_database(role: Callable[[str], str], database: str) -> None:
    """Regression: the remedy was to check that the server is running."""
    login = role("")
    ask(database, f"REVOKE CONNECT ON DATABASE {name_of(database)} FROM PUBLIC")
    assert "GRANT CONNECT ON DATABASE" in error_of(login).remedy


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[-1])
def test_an_expired_password(role: Callable[[str], str], command: tuple[str, ...]) -> None:
    """The remedy mentions expiry, as the server only says that the login failed."""
    code, output = run(command, role("VALID UNTIL 'yesterday'"))
    assert code == 3
    assert "password authentication failed" in output
    assert "may also have expired" in output
    assert "s3cret" not in output


def test_a_contract_of_several_hosts_is_followed(database: str) -> None:
    """A contract of a stack with several hosts is followed past the first host, which is down."""
    settings = pg_variables(database)
    where = {"host": f"{HOST},{HOST}", "port": f"1,{settings.pop('PGPORT')}"}
    contract = json.dumps({"contract": 1, "connection": where, "extension": {"name": "vector"}})
    del settings["PGHOST"]
    done = subprocess.run(
        [sys.executable, "-m", "seed", "verify", "--contract", "-"],
        cwd=ROOT,
        env={**os.environ, **settings},
        input=contract,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_whose_first_address_is_dead(server: Server, database: str, tmp_path: Path) -> None:
    """The second address of a name is tried after the first one refused the connection."""
    with half_dead(server, tmp_path) as name:
        for command in (("seed", "migrate", "apply"), ("seed", "sample"), ("seed", "verify")):
            code, output = run(command, database, *name.prefix, **name.settings)
            assert code == 0, output
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM embeddings").fetchone() == (3,)
