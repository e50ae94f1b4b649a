"""Servers, databases and folders for the tests. None of the caller's settings reaches them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
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

SOAK = os.environ.get("SOAK") == "1"

# Speed is not tested, and only a soak draws other examples at each run.
hypothesis.settings.register_profile("any machine", deadline=None, derandomize=not SOAK)
hypothesis.settings.load_profile("any machine")

pytest_plugins = ["tests.limits"]

PASSWORD = "p@ss/w:rd%&#"  # every character that breaks a URL built by hand
# The names of pgvectorscale's access method and operator class, over pgvector's own code.
DISKANN = """
CREATE ACCESS METHOD diskann TYPE INDEX HANDLER hnswhandler;
CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING diskann AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vector_negative_inner_product(vector, vector), FUNCTION 2 vector_norm(vector);
"""
TEMPLATE = "template_vector"
# Without fsync a killed server loses nothing, only a machine that crashes does. Fewer SCRAM iterations make a login
# three times as fast; the provider's driver refuses fewer than 1000.
FAST = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1000"}
# Sessions that wait for the lock of the migrations. By application_name: the test's own query has these words, too,
# and the server shows it until its session has ended, which may be after the next query has begun.
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

# The location of the engine and its plugins is the machine's; the test sets all other variables.
MACHINES = ("PULUMI_HOME", "PULUMI_IGNORE_AMBIENT_PLUGINS", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION")

for name in list(os.environ):
    ours = name.startswith(("PG", "MAKE")) or name in ("DATABASE", "ENGINE", "YES")
    if ours or (name.startswith("PULUMI_") and name not in MACHINES):
        del os.environ[name]

# The tests start thousands of Python processes, and each would compile the project anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Where the versions' catalogs and SQL differ most. Only make soak runs all other tests on both.
ON_BOTH = ("tests/test_servers.py", "tests/vectors/test_", "tests/migrate/test_adopt.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the other cases on PostgreSQL 16 to make soak, but the first of each file, which make test-all runs."""
    left_out: set[pytest.Item] = set()
    files: set[str] = set()
    for item in items:
        newest = item.get_closest_marker("newest")
        major, _, case = item.name.partition("[")[2].partition("-")
        is_on_both = item.nodeid.startswith(ON_BOTH) and not newest
        also = newest.kwargs.get("also_on_16", ()) if newest else ()
        if major.rstrip("]") == "pg16" and not is_on_both and not case.startswith(also):
            item.add_marker("rest")
            file = item.nodeid.partition("::")[0]
            if file in files and not SOAK:
                left_out.add(item)
            files.add(file)
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Schedules each test on a free process; the tests of a file in e2e share slow fixtures and stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if "e2e/" in file else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneByOne:
    """Schedule test by test: xdist 3.8 does not see its mark xdist_group under pytest 9.2."""
    return OneByOne(config, log)


def tries(quick: int, soak: int) -> int:
    """Return the number of rounds of a randomized test: ``quick`` in make test, ``soak`` in make soak."""
    return soak if SOAK else quick


class Process(subprocess.Popen[str]):
    """A process whose ``with`` kills it if the test fails in there; Popen's would wait for its end."""

    def __exit__(self, *failure: object) -> None:
        if failure[0] is not None:
            self.kill()
        super().__exit__(*failure)  # type: ignore[arg-type]


def ask(conninfo: str, statement: str) -> Any:
    """Execute a statement in autocommit and return its rows, or None if it has no result."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else None


def name_of(conninfo: str) -> str:
    """Return the database's name, quoted as an SQL identifier if it must be."""
    return str(ask(conninfo, "SELECT quote_ident(current_database())")[0][0])


def pg_variables(conninfo: str) -> dict[str, str]:
    """Return a conninfo as PG* variables."""
    return {VARIABLES[name]: str(value) for name, value in conninfo_to_dict(conninfo).items() if name in VARIABLES}


def declare(schema: str = "public", on_destroy: str = "retain", **changes: Any) -> Declaration:
    """Return the declaration of a stack that sets no options but ``changes``."""
    declared = {"schema": schema, "on_destroy": on_destroy, "minimum_version": "0.8.4", **changes}
    return msgspec.convert(declared, Declaration)


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Server]]:
    """Return a function that starts the embedded server of a major version, once in a session."""
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
    """Return the conninfo of a superuser of an embedded server, for this database."""
    port = server.environment["PGPORT"]
    return make_conninfo("", host=HOST, port=port, user=USER, password=PASSWORD, dbname=dbname, sslmode="disable")


def own_conninfo(server: Server, **changes: str) -> str:
    """Return the conninfo that an embedded server's own PG* variables make, with ``changes`` to them."""
    settings = {**server.environment, **changes}
    return make_conninfo("", **{name: settings[envvar] for name, envvar in VARIABLES.items() if envvar in settings})


def kill(server: Server) -> None:
    """Kill the postmaster with SIGKILL, and wait until the server is down."""
    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: not server.is_running())


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until ``condition`` is true, and return its value. Fails after that many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)  # leave the processor to the process that is waited for
    return value


def remove(server: Server) -> None:
    """Stop a server and remove the files that it keeps outside of the test's folder."""
    home = server.home
    server.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=tuple(INSTALLED), ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, start_server: Callable[[int], Server]) -> Server:
    """Return a running server, of each major version in turn."""
    return start_server(request.param)


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[str], str]]:
    """Return a function that clones a template and returns the clone's conninfo. Drops all clones at the end."""
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
    """Return the conninfo of a database that has the extension and nothing else."""
    return new_database()


@pytest.fixture
def empty_database(new_database: Callable[..., str]) -> str:
    """Return the conninfo of a database without the extension."""
    return new_database("template0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for migrations."""
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    return migrations
