"""Concurrent first deployments of one empty database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ask, pg_variables, tries
from tests.e2e.conftest import EVERYTHING, WHAT_IS_THERE, Stack, copy_project, run

AT_ONCE = tries(4, 8)
ROUNDS = tries(2, 20)
LEDGERS = "SELECT count(*) FROM pgvector_seed.migrations"


def race(words: list[str], folder: Path, each: list[dict[str, str]]) -> list[str]:
    """Run a command concurrently, once for each of these settings, and return the outputs of the failed runs."""
    started = [
        subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for settings in each
    ]
    printed = [process.communicate()[0] for process in started]
    return [text for process, text in zip(started, printed, strict=True) if process.returncode != 0]


def assert_deployed_once(database: str, failed: list[str]) -> None:
    """Assert that no run failed, and that one of them did all of the work."""
    assert failed == []
    assert ask(database, WHAT_IS_THERE) == EVERYTHING
    assert ask(database, LEDGERS) == [(1,)]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_stacks_of_their_own(stack: Stack, tmp_path: Path, round_: int) -> None:  # noqa: ARG001
    """Regression: the provider's CREATE EXTENSION IF NOT EXISTS collided with another: pg_extension_name_index."""
    each = []
    for number in range(AT_ONCE):
        state = tmp_path / f"state {number}"
        state.mkdir()
        each.append({**stack.settings, "PULUMI_BACKEND_URL": state.as_uri()})
        made = run(["pulumi", "stack", "init", "dev"], stack.folder, **each[-1])
        assert made.returncode == 0, made.stdout
    failed = race(["pulumi", "up", "--yes", "--skip-preview"], stack.folder, each)
    assert_deployed_once(stack.conninfo, failed)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_without_the_engine(new_database: Callable[..., str], tmp_path: Path, round_: int) -> None:  # noqa: ARG001
    database = new_database("template0")
    folder = copy_project(tmp_path / "project")
    each = [pg_variables(database)] * AT_ONCE
    failed = race([sys.executable, "-m", "local", "standalone", "up"], folder, each)
    assert_deployed_once(database, failed)
