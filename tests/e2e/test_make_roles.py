"""The make targets on a stack with roles, on make's own server."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import readme_block, run
from tests.roles import ODD, Names, quoted

NAMES = Names(*(f"{ODD} {kind}" for kind in ("owner", "writer", "reader")))
pytestmark = pytest.mark.usefixtures("roles")


def make(clone: Path, *words: str, code: int = 0, **settings: str) -> str:
    """Run make with Pulumi's engine, assert its exit code, and return its output."""
    done = run(["make", "--no-print-directory", *words], clone, **{"ENGINE": "pulumi", **settings})
    assert done.returncode == code, done.stdout
    return done.stdout


def shell(clone: Path, script: str, code: int = 0) -> str:
    """Run a script in a shell of make env."""
    done = run(["sh", "-euc", f'eval "$(make -s env)"\n{script}'], clone)
    assert done.returncode == code, done.stdout
    return done.stdout


def set_roles() -> list[str]:
    """Return the commands that declare the three roles."""
    kinds = ("owner", "writer", "reader")
    return [f"pulumi config set --path roles.{kind} {shlex.quote(getattr(NAMES, kind))}" for kind in kinds]


@pytest.fixture(scope="module")
def roles(cli: None, clone: Path) -> None:  # noqa: ARG001
    """Bring a stack up without roles, then with them."""
    make(clone, "up")
    shell(clone, "\n".join(set_roles()))
    make(clone, "up")


def test_every_target_works(clone: Path) -> None:
    """Regression: every target but preview ended with advice that make itself undid."""
    assert "All 7 answers are the article's." in make(clone, "seed")
    assert "checks: 11 passed" in make(clone, "verify")
    assert "30 unchanged" in make(clone, "preview")
    assert "30 unchanged" in make(clone, "up")
    assert "roles need Pulumi's engine" in make(clone, "up", code=2, ENGINE="standalone")
    strays: dict[str, Any] = {"PGPASSWORD": "stray", "PGOPTIONS": "-c role=stray", "PGHOSTADDR": "192.0.2.1"}
    assert "30 deleted" in make(clone, "destroy", YES="1", **strays)
    assert "30 created" in make(clone, "up"), "from nothing, with roles at once"


def test_in_a_shell_of_make_env_the_advice_works(clone: Path) -> None:
    """In a shell of make env the login is a superuser, who must name the owner of a trusted ledger."""
    refused = shell(clone, "python -m seed sample", code=2)
    advice = re.search("PGOPTIONS=.*?(?= before the same command)", refused)
    assert advice is not None, refused
    assert "All 7 answers" in shell(clone, f"{advice[0]} python -m seed sample")


def test_a_stack_that_loses_the_key_gets_the_commands_that_set_it_again(clone: Path) -> None:
    """The printed commands, run one after the other, restore the key."""
    shell(clone, "pulumi config rm roles")
    refused = make(clone, "up", code=2)
    advice = re.search(r"pulumi config set .*(?=\. To keep the data without roles)", refused)
    assert advice is not None, refused
    shell(clone, advice[0])
    assert "30 unchanged" in make(clone, "up")


def test_a_server_that_is_gone_is_filled_anew(clone: Path) -> None:
    """After the loss of the server, one up creates the roles, the tables and the rows again."""
    make(clone, "stop")
    shutil.rmtree((clone / ".local" / "18" / "home").resolve())
    assert "All 7 answers are the article's." in make(clone, "up")
    assert "30 unchanged" in make(clone, "up")


def test_a_stack_without_roles_again_keeps_the_data(clone: Path) -> None:
    """The commands of docs/roles.md remove the roles and keep the data."""
    commands = readme_block("run: without roles", "docs/roles.md").replace("app_owner", quoted(NAMES.owner))
    shell(clone, "export PULUMI_SKIP_CONFIRMATIONS=true\n" + commands)
    assert "7 unchanged" in make(clone, "up")
    assert "checks: 11 passed" in make(clone, "verify")
