"""Stacks with an owner, a writer and a reader."""

from __future__ import annotations

import subprocess
import sys

from psycopg.conninfo import make_conninfo

from pgvector_seed.postgres.conninfo import as_role
from tests.conftest import pg_variables
from tests.e2e.conftest import Stack, run
from tests.roles import Names

VERIFY = [sys.executable, "-m", "seed", "verify"]
SAMPLE = [sys.executable, "-m", "seed", "sample"]


def declare(stack: Stack, names: Names) -> None:
    """Configure the three roles of a stack."""
    for kind in ("owner", "writer", "reader"):
        stack.pulumi("config", "set", "--path", f"roles.{kind}", getattr(names, kind))


def password(stack: Stack, kind: str) -> str:
    """Return the password of the writer or the reader from the stack's outputs."""
    return stack.pulumi("stack", "output", "--show-secrets", f"{kind}Password").strip()


def login(stack: Stack, names: Names, kind: str) -> str:
    """Return the conninfo of the writer or the reader."""
    return make_conninfo(stack.conninfo, user=getattr(names, kind), password=password(stack, kind))


def run_as(stack: Stack, login_conninfo: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the connection of this conninfo."""
    return run(words, stack.folder, **{**stack.settings, **pg_variables(login_conninfo)})


def assert_right_for_all(stack: Stack, names: Names) -> None:
    """Assert that verify passes for the owner, the writer and the reader, and skips no check."""
    as_owner = as_role(stack.conninfo, names.owner)
    for conninfo in (as_owner, login(stack, names, "writer"), login(stack, names, "reader")):
        done = run_as(stack, conninfo, *VERIFY, "--strict")
        assert done.returncode == 0, done.stdout


def assert_no_drift(stack: Stack) -> None:
    """Assert that a second up and a refresh find no changes."""
    stack.up("--expect-no-changes")
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")


def lose_state(stack: Stack) -> None:
    """Remove the stack's state and init the stack anew with its configuration."""
    stack.pulumi("stack", "rm", "--yes", "--force", "--preserve-config")
    stack.pulumi("stack", "init", "dev")
