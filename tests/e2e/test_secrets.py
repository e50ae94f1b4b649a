"""No secret leaks: a deployment with marked passwords, and every place that could show one afterwards."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import psutil
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import PASSWORD, ask, conninfo
from tests.e2e.conftest import Stack
from tests.e2e.roles import VERIFY, declare, login, password, run_as
from tests.roles import Names

WRITERS = "wr1ter's p@ss\\w:rd%&#"
ARGUMENTS, LOG = "the arguments of all processes", "the server's log"
RECORD = "SELECT d, m FROM pgvector_seed.deployment AS d, pgvector_seed.migrations AS m"


@pytest.fixture
def logged(server: Server) -> Iterator[Server]:
    """Yield a server that logs every statement."""
    set_log_statement(server, "= 'all'")
    yield server
    set_log_statement(server, "TO DEFAULT")


def set_log_statement(server: Server, value: str) -> None:
    """Set log_statement for all later sessions."""
    for statement in (f"ALTER SYSTEM SET log_statement {value}", "SELECT pg_reload_conf()"):
        ask(conninfo(server, "postgres"), statement)


@contextmanager
def watched_arguments() -> Iterator[set[str]]:
    """Yield the set of command lines of all processes, which grows until the block ends."""
    seen: set[str] = set()
    done = Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.update(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def forms(secret: str) -> list[str]:
    """Return the spellings of a secret in JSON, HTML, URLs and base64."""
    escaped = json.dumps(secret)[1:-1]
    encoded = base64.b64encode(secret.encode()).decode()
    return [secret, escaped, escaped.replace("&", "\\u0026"), quote(secret, safe=""), encoded]


def files_of(folder: Path, since: float) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file written since then, except packages, and the tests, which have the marks."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".venv", ".git", "tests")]
        for path in (Path(parent, name) for name in names):
            if path.is_file() and path.stat().st_mtime >= since:
                yield str(path), path.read_bytes().decode(errors="replace")


@dataclass
class Life:
    """A deployment from its first up to its destroy; ``places`` has the output of each step."""

    stack: Stack
    names: Names
    places: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)

    def keep(self, *words: str, code: int = 0) -> None:
        self.places[" ".join(("pulumi", *words))] = self.stack.pulumi(*words, code=code)

    def begin(self) -> None:
        self.keep("up", "--yes", "-v=8", "--logtostderr")
        self.secrets += [PASSWORD, WRITERS, password(self.stack, "reader")]
        self.stack.set("passwordVersion", "2")
        self.keep("preview", "--diff")
        self.keep("up", "--yes", "--diff")
        self.secrets.append(password(self.stack, "reader"))
        self.keep("refresh", "--yes")

    def fail(self) -> None:
        self.stack.write("migrations/0002_b.up.sql", "SELECT nope")
        self.keep("up", "--yes", "--skip-preview", code=1)
        (self.stack.folder / "migrations/0002_b.up.sql").unlink()
        self.stack.set("port", "1")
        self.keep("preview")
        self.keep("up", "--yes", "--skip-preview", "--debug", code=1)
        self.stack.pulumi("config", "rm", "port")

    def verify(self) -> None:
        self.keep("up", "--yes")
        for form in ("text", "json", "junit", "github"):
            for kind in ("writer", "reader"):
                words = [*VERIFY, "--stack", "dev", "--format", form]
                seen = run_as(self.stack, login(self.stack, self.names, kind), *words)
                self.places[f"seed verify --format {form} as the {kind}"] = seen.stdout
        nowhere = make_conninfo(login(self.stack, self.names, "reader"), port=1)
        self.places["seed verify of a server that is not there"] = run_as(self.stack, nowhere, *VERIFY).stdout

    def end(self) -> None:
        self.keep("stack", "output", "--json")
        self.keep("stack", "export")
        self.keep("stack", "history", "--json")
        self.places["the deployment's record"] = str(ask(self.stack.conninfo, RECORD))
        self.keep("destroy", "--yes", "--skip-preview")


def test_the_places_where_a_password_could_be_found(stack: Stack, names: Names, logged: Server) -> None:
    """No step of a deployment, from up over failures and a rotation to destroy, leaves a password."""
    began = time.time() - 2  # a file system may keep whole seconds
    declare(stack, names)
    stack.pulumi("config", "set", "--secret", "password", PASSWORD)
    stack.pulumi("config", "set", "--secret", "writerPassword", WRITERS)
    life = Life(stack, names)
    with watched_arguments() as arguments:
        for step in (life.begin, life.fail, life.verify, life.end):
            step()
    home = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi"))
    places = {**life.places, ARGUMENTS: "\n".join(arguments), LOG: logged.log.read_text(errors="replace")}
    places |= {**dict(files_of(stack.folder.parent, began)), **dict(files_of(home / "logs", began))}
    print("\n".join(sorted(places)))  # pytest shows it with -s
    assert "pulumi-language-python" in places[ARGUMENTS], "the processes were looked at while it ran"
    assert "CREATE ROLE" in places[LOG]
    assert len(set(life.secrets)) == 4
    marks = {form for secret in life.secrets for form in forms(secret)}
    assert not [(place, form) for place, text in places.items() for form in marks if form in text]
