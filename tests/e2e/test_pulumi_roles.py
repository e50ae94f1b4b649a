"""Owner, writer and reader on the real engine: what each may do, and that nothing drifts."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import ask, conninfo, pg_variables
from tests.e2e.conftest import Stack, run

KINDS = ("owner", "writer", "reader")
ODD = 'Od"d 😀 \\'  # a space, capitals, a quote, an emoji and a backslash


@pytest.fixture
def names(server: Server) -> Iterator[dict[str, str]]:
    """Names that no role has; whatever has them at the end is dropped."""
    mark = secrets.token_hex(3)
    names = {kind: f"{ODD} {kind} {mark}" for kind in KINDS}
    yield names
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        for (found,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"%{mark}",)).fetchall():
            for (database,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
                ask(conninfo(server, database), sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(found)).as_string())
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(found)))


@pytest.fixture
def with_roles(stack: Stack, names: dict[str, str]) -> Stack:
    """A stack that declares the three roles."""
    for kind, name in names.items():
        stack.pulumi("config", "set", "--path", f"roles.{kind}", name)
    return stack


def as_role(stack: Stack, kind: str, name: str) -> dict[str, str]:
    """The PG* variables of a login that the stack made."""
    password = stack.pulumi("stack", "output", "--show-secrets", f"{kind}Password").strip()
    return pg_variables(make_conninfo(stack.conninfo, user=name, password=password))


def test_each_does_its_own_and_nothing_drifts(with_roles: Stack, names: dict[str, str]) -> None:
    """up, up and refresh without changes; verify as the deployer, as the writer and as the reader."""
    stack = with_roles
    print(stack.pulumi("preview"))
    print(stack.up())
    print(stack.up("--expect-no-changes"))
    print(stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes"))
    contract = json.loads(stack.pulumi("stack", "output", "contract", "--json"))
    assert contract["roles"] == {"writer": names["writer"], "reader": names["reader"]}
    assert contract["tables"][0]["owner"] == names["owner"]
    for kind in ("writer", "reader"):
        seen = run([sys.executable, "-m", "seed", "verify"], stack.folder, **{**stack.settings, **as_role(stack, kind, names[kind])})
        print(kind, seen.stdout)
    seen = run([sys.executable, "-m", "seed", "sample"], stack.folder, **{**stack.settings, **as_role(stack, "writer", names["writer"])})
    print(seen.stdout)
    for kind in ("writer", "reader"):
        seen = run([sys.executable, "-m", "seed", "verify", "--strict"], stack.folder, **{**stack.settings, **as_role(stack, kind, names[kind])})
        print(kind, seen.stdout)
    seen = run([sys.executable, "-m", "seed", "verify", "--strict"], stack.folder, **stack.settings)
    print(seen.stdout)
    stack.write("migrations/0002_b.up.sql", "CREATE TABLE b (id serial); CREATE VIEW v AS SELECT * FROM b")
    stack.write("migrations/0002_b.down.sql", "DROP VIEW v; DROP TABLE b")
    print(stack.pulumi("preview", "--diff"))
    print(stack.up())
    print(stack.up("--expect-no-changes"))
    print(stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes"))
    print(stack.destroy())
    print(ask(stack.conninfo, "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"))
    assert 0
