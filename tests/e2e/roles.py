"""Stacks with roles: names for them, and what each role sees."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import ask, conninfo, pg_variables
from tests.e2e.conftest import Stack, run

ODD = 'Od"d 😀 \\'  # capitals, a quote, a space, an emoji and a backslash
VERIFY = [sys.executable, "-m", "seed", "verify"]
SAMPLE = [sys.executable, "-m", "seed", "sample"]


@dataclass(frozen=True)
class Names:
    """Names that no role of the server has yet."""

    owner: str
    writer: str
    reader: str


@contextmanager
def new_names(server: Server) -> Iterator[Names]:
    """Whoever has one of them at the end is dropped, with all its rights."""
    mark = secrets.token_hex(3)
    yield Names(*(f"{ODD} {kind} {mark}" for kind in ("owner", "writer", "reader")))
    drop_roles(server, mark)


def drop_roles(server: Server, mark: str) -> None:
    """Drop the roles whose name ends so, and what they own."""
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        names = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"%{mark}",)).fetchall()
        databases = connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
        for (name,) in names:
            for (database,) in databases:
                ask(conninfo(server, database), f"DROP OWNED BY {quoted(name)} CASCADE")
        for (name,) in names:
            connection.execute(f"DROP ROLE {quoted(name)}".encode())


def quoted(name: str) -> str:
    """The name as SQL has it."""
    return sql.Identifier(name).as_string()


def declare(stack: Stack, names: Names) -> None:
    """Have the stack make the three roles."""
    for kind in ("owner", "writer", "reader"):
        stack.pulumi("config", "set", "--path", f"roles.{kind}", getattr(names, kind))


def password(stack: Stack, kind: str) -> str:
    """What the stack says that the writer or the reader logs in with."""
    return stack.pulumi("stack", "output", "--show-secrets", f"{kind}Password").strip()


def login(stack: Stack, names: Names, kind: str) -> str:
    """How the writer or the reader reaches the database."""
    return make_conninfo(stack.conninfo, user=getattr(names, kind), password=password(stack, kind))


def run_as(stack: Stack, who: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours with this login."""
    return run(words, stack.folder, **{**stack.settings, **pg_variables(who)})


def assert_right_for_all(stack: Stack, names: Names) -> None:
    """Verify passes for who deploys, the writer and the reader, and skips nothing."""
    for who in (stack.conninfo, login(stack, names, "writer"), login(stack, names, "reader")):
        seen = run_as(stack, who, *VERIFY, "--strict")
        assert seen.returncode == 0, seen.stdout


def assert_no_drift(stack: Stack) -> None:
    """A second up and a refresh find nothing to do."""
    stack.up("--expect-no-changes")
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")


def lose_state(stack: Stack) -> None:
    """Forget the stack and begin it anew, with its configuration."""
    stack.pulumi("stack", "rm", "--yes", "--force", "--preserve-config")
    stack.pulumi("stack", "init", "dev")


def state(stack: Stack) -> str:
    """The stack's state, as it is stored."""
    return json.dumps(json.loads(stack.pulumi("stack", "export")))
