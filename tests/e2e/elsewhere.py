"""A second server that stray environment variables lead to, and a stack that is watched for using it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from local import binaries
from local.binaries import INSTALLED
from local.server import HOST, USER, Server
from local.workspace import ROOT
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres.connection import connect
from tests.conftest import PASSWORD, TEMPLATE, ask, conninfo, name_of, until
from tests.conftest import declare as declaration
from tests.e2e.conftest import Stack, run
from tests.proxies import Proxy
from tests.roles import Names, drop_roles, quoted

ELSEWHERE, NOBODY = "127.0.0.2", "127.0.0.3"  # this machine's, as all of 127.0.0.0/8 on Linux
QUIET = ("--yes", "--skip-preview")
VERBS = {
    "preview": ("preview",),
    "up": ("up", *QUIET),
    "up --refresh": ("up", "--refresh", *QUIET),
    "refresh": ("refresh", *QUIET),
    "refresh --run-program": ("refresh", "--run-program", *QUIET),
    "destroy": ("destroy", *QUIET),
    "destroy --run-program": ("destroy", "--run-program", *QUIET),
}
CHANGES = ("updated", "deleted", "created", "replaced", "to update")
ROLES = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE '%{}' ORDER BY 1"


@dataclass(frozen=True)
class Victim:
    """A database with the name of the stack's on another server, with its own deployment, open to the stack's login.

    ``mark`` is the suffix of its roles' names, which the stack may use as well.
    """

    server: Server
    conninfo: str
    mark: str

    def deploy(self, names: Names) -> None:
        """Create the tables, the ledger and the roles, and insert a row."""
        with connect(self.conninfo) as connection:
            apply(connection, load(ROOT / "migrations"), declaration(on_destroy="revert"), lambda _: None)
        ask(self.conninfo, "INSERT INTO embeddings (embedding) VALUES ('[1, 2, 3, 4]')")
        for name in (names.owner, names.writer, names.reader):
            ask(self.conninfo, f"CREATE ROLE {quoted(name)}; GRANT SELECT ON embeddings TO {quoted(name)}")

    def contents(self) -> str:
        """Return a dump of the database with its roles."""
        done = binaries.run(self.server.major, "pg_dump", [self.conninfo], home=self.server.home, stdin="")
        assert done.returncode == 0, done.stdout
        lines = [line for line in done.stdout.splitlines() if "restrict " not in line]  # contains a random word
        return "\n".join([*lines, str(ask(self.conninfo, ROLES.format(self.mark)))])

    def connections(self) -> int:
        """Return the number of connections received so far, including those that never logged in."""
        return self.server.log.read_text(errors="replace").count("connection received")


@dataclass
class Watched:
    """A stack whose server is at HOST, on the port that the victim's server has at ELSEWHERE."""

    stack: Stack
    server: Server
    victim: Victim
    port: int
    front: ExitStack = field(default_factory=ExitStack)

    def stop(self) -> None:
        """Close the port at the stack's address."""
        self.front.close()

    def start(self) -> None:
        """Let the stack's server listen at the stack's address."""
        self.front.enter_context(closing(Proxy(self.server, port=self.port)))

    def name_the_address(self) -> None:
        """Set the database's address in the configuration, so that no variable is needed."""
        name = conninfo_to_dict(self.stack.conninfo)["dbname"]
        place = {"host": HOST, "port": self.port, "database": name, "user": USER}
        self.stack.pulumi("config", "set-all", *(f"--plaintext={key}={value}" for key, value in place.items()))

    def state(self) -> Any:
        """Return the resources in the stack's state, and the addresses of its provider."""
        (file,) = (self.stack.folder.parent / "state").glob(".pulumi/stacks/*/dev.json")
        resources = json.loads(file.read_text())["checkpoint"]["latest"].get("resources") or []
        urns_and_ids = sorted(
            (resource["urn"], resource.get("id")) for resource in resources if "providers:pulumi" not in resource["urn"]
        )
        places = [resource["inputs"] for resource in resources if resource["type"] == "pulumi:providers:postgresql"]
        return urns_and_ids, [[place[key] for key in ("host", "port", "database", "username")] for place in places]

    def run(self, verb: str, stray: dict[str, str], code: int, *, asked: bool = False) -> str:
        """Run a verb and assert its exit code, and that the victim is unchanged and was not connected to."""
        before = self.victim.contents()
        connections = self.victim.connections()
        done = run(["pulumi", *VERBS[verb]], self.stack.folder, **{**self.stack.settings, **stray})
        assert asked or self.victim.connections() == connections, done.stdout
        assert self.victim.contents() == before, done.stdout
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def keeps_state(self, verb: str, stray: dict[str, str], words: str = "", *, asked: bool = False) -> None:
        """Assert that a verb keeps the state, and fails with ``words``, or finds no changes if they are empty."""
        before = self.state()
        output = self.run(verb, stray, 1 if words else 0, asked=asked)
        assert self.state() == before, output
        assert words in output, output
        if not words:
            assert not [change for change in CHANGES if change in output], output


@pytest.fixture
def watched(stack: Stack, server: Server, start_server: Callable[[int], Server], names: Names) -> Iterator[Watched]:
    """Yield a stack together with its victim."""
    elsewhere = start_server(min(INSTALLED))
    postgres, name = conninfo(elsewhere, "postgres"), name_of(stack.conninfo)
    mark = names.owner.split()[-1]
    victim = Victim(elsewhere, conninfo(elsewhere, str(conninfo_to_dict(stack.conninfo)["dbname"])), mark)
    with ExitStack() as opened:
        ask(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        opened.callback(drop_roles, elsewhere, mark)
        opened.callback(ask, postgres, f"DROP DATABASE {name} WITH (FORCE)")
        log_connections(postgres, "on")
        opened.callback(log_connections, postgres, "off")
        victim.deploy(names)
        port = opened.enter_context(closing(Proxy(elsewhere, host=ELSEWHERE))).port
        stack.settings["PGPORT"] = str(port)
        watched = Watched(stack, server, victim, port)
        opened.callback(watched.stop)
        watched.start()
        yield watched


def log_connections(postgres: str, value: str) -> None:
    """Turn the logging of connections on or off."""
    ask(postgres, f"ALTER SYSTEM SET log_connections = {value}")
    ask(postgres, "SELECT pg_reload_conf()")
    until(lambda: ask(postgres, "SHOW log_connections") == [(value,)])


def strays(watched: Watched, folder: Path) -> dict[str, dict[str, str]]:
    """Return variables that may be set by accident beside an address in the configuration; each leads to the victim."""
    name, port = conninfo_to_dict(watched.victim.conninfo)["dbname"], watched.port
    services = folder / "services"
    place = f"host={ELSEWHERE}\nhostaddr={ELSEWHERE}\nport={port}\ndbname={name}\n"
    services.write_text(f"[victim]\n{place}user={USER}\npassword={PASSWORD}\noptions=-c search_path=elsewhere\n")
    return {
        "PGSERVICE": {"PGSERVICE": "victim", "PGSERVICEFILE": str(services)},
        "PGHOSTADDR": {"PGHOSTADDR": ELSEWHERE},
        "PGHOST": {  # and other variables; the driver would try the listed servers in any order
            "PGHOST": f"{NOBODY},{ELSEWHERE}",
            "PGLOADBALANCEHOSTS": "random",
            "PGPORT": watched.victim.server.environment["PGPORT"],
            "PGDATABASE": "postgres",
            "PGUSER": "nobody",
            "PGOPTIONS": "-c search_path=elsewhere",
        },
    }
