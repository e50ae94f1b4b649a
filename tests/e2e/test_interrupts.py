"""Ctrl-C and kill -9 during a statement: the server stops working, and the next run continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.conftest import ask, pg_variables, until
from tests.e2e.conftest import NOTHING, WHAT_IS_THERE, Stack, copy_project, readme_block, run, start

SLEEP = "SELECT pg_sleep(600)"
ASLEEP = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
LEFT = (
    "interrupted: {} is the newest recorded migration, and stays; later work was rolled back. "
    "Run the same command again."
)
STANDALONE = [sys.executable, "-m", "local", "standalone"]
PULUMI = {"up": ["up", "--yes", "--skip-preview"], "destroy": ["destroy", "--yes", "--skip-preview"]}
NEWEST = {"up": "0001_create_embeddings", "destroy": "0002_b"}


@contextmanager
def at_work(
    words: Sequence[str], folder: Path, settings: Mapping[str, str], conninfo: str
) -> Iterator[subprocess.Popen[str]]:
    """Yield the process of a command, once the server executes the statement that does not end."""
    with start(words, folder, **settings) as process:
        until(lambda: process.poll() is not None or ask(conninfo, ASLEEP))
        assert process.poll() is None, process.communicate()[0]
        yield process


def migrations(folder: Path, up: str, down: str = "DROP TABLE b") -> None:
    """Write the second migration."""
    (folder / "migrations" / "0002_b.up.sql").write_text(f"CREATE TABLE b (); {up}")
    (folder / "migrations" / "0002_b.down.sql").write_text(down)


def assert_gone(conninfo: str) -> None:
    """Wait until the server has ended the statement and released its locks."""
    until(lambda: not ask(conninfo, ASLEEP))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project."""
    return copy_project(tmp_path / "project")


@pytest.mark.parametrize("verb", ["up", pytest.param("destroy", marks=pytest.mark.rest)])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stand_alone(project: Path, empty_database: str, verb: str, sent: signal.Signals) -> None:
    """Regression: after Ctrl-C the statement ran on with its locks, and no line said what had been recorded."""
    settings = {**pg_variables(empty_database), "YES": "1"}
    if verb == "destroy":
        migrations(project, "SELECT 1", f"{SLEEP}; DROP TABLE b")
        assert run([*STANDALONE, "up"], project, **settings).returncode == 0
    else:
        migrations(project, SLEEP)
    with at_work([*STANDALONE, verb], project, settings, empty_database) as process:
        os.killpg(process.pid, sent)
        printed = process.communicate()[0]
        assert_gone(empty_database)
    if sent == signal.SIGINT:
        assert printed.splitlines()[-1] == LEFT.format(NEWEST[verb])
        assert "Traceback" not in printed
        assert process.returncode == 130
    migrations(project, "SELECT 1")
    assert run([*STANDALONE, "up"], project, **settings).returncode == 0
    assert run([*STANDALONE, "destroy"], project, **settings).returncode == 0
    assert ask(empty_database, WHAT_IS_THERE) == NOTHING


def test_stand_alone_while_it_waits_for_the_extension(project: Path, empty_database: str) -> None:
    """An interrupt also ends CREATE EXTENSION, which the SDK runs in another thread before any migration."""
    waiting = f"{ASLEEP.split(' WHERE ')[0]} WHERE wait_event = 'relation' AND datname = current_database()"
    with psycopg.connect(empty_database) as holder:
        holder.execute("LOCK TABLE pg_extension IN SHARE MODE")
        process = start([*STANDALONE, "up"], project, **pg_variables(empty_database))
        until(lambda: ask(empty_database, waiting))
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
        until(lambda: not ask(empty_database, waiting))
    nothing = "interrupted: no migration is recorded; all work was rolled back. Run the same command again."
    assert printed.splitlines()[-1] == nothing
    assert process.returncode == 130
    assert ask(empty_database, WHAT_IS_THERE) == NOTHING


def interrupt(process: subprocess.Popen[str], *, whole_group: bool) -> str:
    """Interrupt the CLI's group, as a terminal does, or the CLI alone, as a pipeline; return the output."""
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    return process.communicate()[0]


def start_asleep(stack: Stack, verb: str) -> list[str]:
    """Prepare a migration that does not end, and return the command that runs into it."""
    if verb == "destroy":
        migrations(stack.folder, "SELECT 1", f"{SLEEP}; DROP TABLE b")
        stack.up()
    else:
        migrations(stack.folder, SLEEP)
    return ["pulumi", *PULUMI[verb]]


@pytest.mark.parametrize(("verb", "whole_group"), [("up", True), ("up", False), ("destroy", True)])
def test_an_interrupt_of_the_engine(stack: Stack, verb: str, whole_group: bool) -> None:
    """Regression: the engine waited for the end of the migration, which kept its locks until then."""
    words = start_asleep(stack, verb)
    with at_work(words, stack.folder, stack.settings, stack.conninfo) as process:
        printed = interrupt(process, whole_group=whole_group)
        assert_gone(stack.conninfo)
    assert f"error: InterruptError: {LEFT.format(NEWEST[verb])}" in printed
    assert "Traceback" not in printed
    assert process.returncode != 0
    migrations(stack.folder, "SELECT 1")
    assert "pending operations" not in stack.up()
    stack.up("--expect-no-changes")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_a_killed_engine(stack: Stack, verb: str) -> None:
    """Regression: the provider of a killed engine went on with the migration. docs/operations.md has the way back."""
    words = start_asleep(stack, verb)
    with at_work(words, stack.folder, stack.settings, stack.conninfo) as process:
        providers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_ours(child)]
        process.kill()
        process.wait()
        assert_gone(stack.conninfo)
    assert len(providers) == 1
    psutil.wait_procs(providers, timeout=60)
    assert not any(provider.is_running() for provider in providers)
    migrations(stack.folder, "SELECT 1")
    done = run(["sh", "-euc", readme_block("run: killed", "docs/operations.md")], stack.folder, **stack.settings)
    assert done.returncode == 0, done.stdout
    assert "pending operations" not in stack.up()
    stack.up("--expect-no-changes")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def is_ours(process: psutil.Process) -> bool:
    """Return True for the process of our dynamic provider."""
    return "pulumi.dynamic" in process.cmdline()
