"""Servers, databases and folders for the tests. Nothing of the caller's settings gets in."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local.binaries import INSTALLED
from local.server import HOST, SETTINGS, USER, Server
from pgvector_seed.migrate.declaration import Declaration

hypothesis.settings.register_profile("any machine", deadline=None)  # how fast it is, is not tested
hypothesis.settings.load_profile("any machine")

pytest_plugins = ["tests.limits"]

PASSWORD = "p@ss/w:rd%&#"  # every character that breaks a URL built by hand
TEMPLATE = "template_vector"
# A server that is killed loses nothing by these, only one whose machine is; and a login costs a third. The provider's
# driver refuses fewer iterations than 1000.
FAST = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1000"}
# Those who wait for the lock of the migrations. By our application_name: the test's own questions have these words,
# too, and the server shows each until its session has ended, which may be after the next one has begun.
WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgvector-seed' "
    "AND query LIKE '%pg_try_advisory_lock%'"
)
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "dbname": "PGDATABASE",
    "options": "PGOPTIONS",
}

# Where the machine keeps an engine and its plugins is the machine's affair; the rest is the test's.
MACHINES = ("PULUMI_HOME", "PULUMI_IGNORE_AMBIENT_PLUGINS", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION")

for name in list(os.environ):
    ours = name.startswith(("PG", "MAKE")) or name in ("DATABASE", "ENGINE", "YES")
    if ours or (name.startswith("PULUMI_") and name not in MACHINES):
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to ``make test-all`` what is tried on the newest PostgreSQL, and differs on the oldest by chance only."""
    for item in items:
        newest = item.get_closest_marker("newest")
        major, _, case = item.name.partition("[")[2].partition("-")
        if newest and major.rstrip("]") == "pg16" and not case.startswith(newest.kwargs.get("also_on_16", ())):
            item.add_marker("rest")


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a test to whichever process is free, and the tests of a file in e2e together: they share what is slow."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if "e2e/" in file else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneByOne:
    """Spread the tests. The mark xdist_group is not seen by xdist 3.8 under pytest 9.2."""
    return OneByOne(config, log)


def tries(quick: int, soak: int) -> int:
    """How often a test of chance is repeated: in make test, and in make soak."""
    return soak if os.environ.get("SOAK") == "1" else quick


class Process(subprocess.Popen[str]):
    """A process whose ``with`` kills it when the test fails in there, where Popen would wait for its end."""

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None:
            self.kill()
        super().__exit__(*failure)  # type: ignore[arg-type]


def ask(conninfo: str, statement: str) -> Any:
    """The rows that a statement answers, if it answers any."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else None


def name_of(conninfo: str) -> str:
    """The database's name, quoted where it must be."""
    return str(ask(conninfo, "SELECT quote_ident(current_database())")[0][0])


def pg_variables(conninfo: str) -> dict[str, str]:
    """The same connection as PG* variables."""
    return {VARIABLES[name]: str(value) for name, value in conninfo_to_dict(conninfo).items() if name in VARIABLES}


def declare(schema: str = "public", on_destroy: str = "retain", **changes: Any) -> Declaration:
    """What a stack declares that says nothing special."""
    declared = {"schema": schema, "on_destroy": on_destroy, "minimum_version": "0.8.4", **changes}
    return msgspec.convert(declared, Declaration)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Server]]:
    """One embedded server per major version, started when a test first asks for it."""
    servers: dict[int, Server] = {}

    def start(major: int) -> Server:
        if major not in servers:
            servers[major] = new_server(tmp_path_factory.mktemp(f"server {major}"), major)
        return servers[major]

    yield start
    for server in servers.values():
        remove(server)


def new_server(folder: Path, major: int) -> Server:
    """Start an embedded server with the tests' password and a template that has the extension."""
    folder.mkdir(exist_ok=True)
    (folder / "pgpass").write_text(f"{HOST}:0:*:{USER}:{PASSWORD.replace(':', chr(92) + ':')}\n")
    server = Server(folder, major)
    with mock.patch.dict(SETTINGS, FAST):
        server.start()
    ask(conninfo(server, "postgres"), f"CREATE DATABASE {TEMPLATE}")
    ask(conninfo(server, TEMPLATE), "CREATE EXTENSION vector")
    return server


def conninfo(server: Server, dbname: str) -> str:
    """How a test reaches a database of an embedded server as its superuser."""
    port = server.environment["PGPORT"]
    return make_conninfo("", host=HOST, port=port, user=USER, password=PASSWORD, dbname=dbname, sslmode="disable")


def own_conninfo(server: Server, **changes: str) -> str:
    """How an embedded server is reached by nothing but its own PG* variables."""
    settings = {**server.environment, **changes}
    return make_conninfo("", **{name: settings[envvar] for name, envvar in VARIABLES.items() if envvar in settings})


def kill(server: Server) -> None:
    """Kill -9 the postmaster. The signal is sent before the process is gone: wait until it is."""
    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: not server.is_running())


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """What is found, once it is anything; a failure when that takes too long."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)  # what is waited for needs the processor, too
    return answer


def remove(server: Server) -> None:
    """Stop a server and remove what it keeps outside of the test's folder."""
    home = server.home
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=tuple(INSTALLED), ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, start_server: Callable[[int], Server]) -> Server:
    """A running server, of each major version in turn."""
    return start_server(request.param)


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[str], str]]:
    """Make a database from a template, and get its conninfo. All are dropped at the end."""
    made: list[sql.Identifier] = []

    def make(template: str = TEMPLATE, name: str = "odd-name") -> str:
        unique = f"{name} {secrets.token_hex(4)}"
        made.append(sql.Identifier(unique))
        with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made[-1], sql.Identifier(template))
            connection.execute(statement)
        return conninfo(server, unique)

    yield make
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        for database in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@pytest.fixture
def database(new_database: Callable[..., str]) -> str:
    """The conninfo of a database with the extension and nothing else."""
    return new_database()


@pytest.fixture
def empty_database(new_database: Callable[..., str]) -> str:
    """The conninfo of a database without the extension."""
    return new_database("template0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for migrations."""
    found = tmp_path / "migrations"
    found.mkdir()
    return found
