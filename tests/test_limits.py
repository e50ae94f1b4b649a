"""A test that would never end fails by name, its processes are killed, and the other tests go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local.workspace import ROOT

HANGING = """
import subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
import pytest
from tests import limits

limits.SECONDS, limits.AGAIN_SECONDS = 1, 0.2
CHILD = [sys.executable, "-c", "import time; time.sleep(600)", __file__]
never = Event()

@pytest.fixture(scope="session")
def server():
    yield
    Path(__file__).with_name("removed").touch()

def test_process(server):
    with subprocess.Popen(CHILD, stdout=subprocess.PIPE) as process:
        process.communicate()

def test_grandchild(server):
    shell = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *CHILD]
    with subprocess.Popen(shell, stdout=subprocess.PIPE) as process:
        process.stdout.readline()

def test_thread(server):
    with ThreadPoolExecutor() as pool:
        pool.submit(never.wait).result()  # waited for again at the end of the block

def test_fine(server):
    never.set()

@pytest.fixture
def hanging():
    yield
    Event().wait()

def test_fixture(server, hanging):
    pass
"""
ENDED = {"FAILED test_process", "FAILED test_grandchild", "FAILED test_thread", "ERROR test_fixture"}


@pytest.mark.rest
def test_a_test_that_hangs_fails_alone(tmp_path: Path) -> None:
    """Regression: a run waited 80 minutes for a process that waited for the test."""
    path = tmp_path / "test_hanging.py"
    path.write_text(HANGING)
    words = ["-m", "pytest", "-n1", "-rfE", "-ptests.limits", "-pno:cacheprovider", f"--rootdir={tmp_path}", str(path)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 failed, 2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    ended = re.findall(r"^(\w+ )\S*::(\w+) - Failed: the test took longer than 1 s", done.stdout, re.MULTILINE)
    assert {"".join(words) for words in ended} == ENDED
    assert (tmp_path / "removed").exists(), "what the session has started is removed"
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(path) in (process.info["cmdline"] or [])]
