"""The README's commands as a person types them, on a machine that has only what the README asks for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.binaries import INSTALLED
from local.server import Server
from local.workspace import ROOT
from tests.conftest import ask, pg_variables, remove
from tests.e2e.conftest import copy_project, kill_all_in

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MARKED = re.compile(r"<!-- run: ([^\n]+) -->\n```sh\n(.*?)```", re.DOTALL)
BLOCKS = dict(MARKED.findall(TEXT))
HEREDOC = re.compile(r"<<'(\w+)'\n.*?^\1$", re.DOTALL | re.MULTILINE)
LAPTOP = ("two commands", "own table", "own rows")
SERVERS = ("own server", "take over")
PIPELINE = ("pulumi preview --stack mine", "pulumi up --yes --stack mine", "python -m seed verify --strict")
CLEAN = "git checkout -q . && git clean -qfd"
SHELLS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"there is no {name} on PATH"))
    for name in ("bash", "dash", "zsh")
]
# A machine whose Python is called python3 only, without the engine and PostgreSQL's clients.
MISSING = re.compile(r"python.*|pip.*|psql|pulumi.*|pg_.*")
# How packages are reached is the machine's.
MACHINES = re.compile(r"PIP_.*|.*_proxy|.*_PROXY|SSL_CERT_.*|REQUESTS_CA_BUNDLE")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 120


def test_every_block_is_run() -> None:
    assert set(BLOCKS) == {*LAPTOP, *SERVERS}
    assert TEXT.count("```") == 2 * len(BLOCKS)


@pytest.mark.parametrize("shell", [*SHELLS, "sh"])
@pytest.mark.parametrize("title", BLOCKS)
def test_each_shell_can_read_each_block(title: str, shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=BLOCKS[title], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("title", BLOCKS)
def test_no_command_has_a_comment(title: str) -> None:
    """Regression: a zsh that is typed into hands the words of a comment to the command."""
    assert "#" not in HEREDOC.sub("", BLOCKS[title])


def test_python_is_named_only_in_an_environment() -> None:
    """Regression: blocks began with a bare python or pip, which many machines lack, or have in another version."""
    for section in TEXT.split("\n## "):
        entered = False
        for line in HEREDOC.sub("", "".join(block for _, block in MARKED.findall(section))).splitlines():
            entered = entered or line in ('eval "$(make env)"', ". .venv/bin/activate")
            assert entered or not re.match(r"(python|pip|psql|pulumi)\b(?!3)", line), line


@dataclass
class Machine:
    """A fresh clone, and the environment of a person who has just opened a terminal."""

    clone: Path
    environment: dict[str, str]

    def type(self, shell: str, script: str, **settings: str) -> str:
        """Run a script in a shell, assert that its exit code is 0, and return its output."""
        done = subprocess.run(
            [shutil.which(shell) or shell, "-ec", script],
            cwd=self.clone,
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Yield a machine without python, pip, psql and pulumi on PATH. Removes the servers of its clone at the end."""
    folder = tmp_path_factory.mktemp("a machine")
    commands, home = folder / "bin", folder / "home"
    home.mkdir()
    _link_commands(commands)
    environment = {name: value for name, value in os.environ.items() if MACHINES.fullmatch(name)}
    clone = copy_project(folder / "clone")
    yield Machine(clone, environment | {"PATH": str(commands), "HOME": str(home), "ENGINE": "standalone"})
    kill_all_in(clone)
    for major in INSTALLED:
        remove(Server(clone / ".local" / str(major), major))


def _link_commands(folder: Path) -> None:
    """Fill a folder with the machine's commands, and a ``python3``, which is no link: Python looks at its path."""
    folder.mkdir()
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for command in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / command.name
            if not MISSING.fullmatch(command.name) and not link.is_symlink():
                link.symlink_to(command)
    interpreter = getattr(sys, "_base_executable", sys.executable)
    (folder / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(interpreter)} "$@"\n')
    (folder / "python3").chmod(0o755)


@pytest.mark.rest
@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_hour(machine: Machine, shell: str) -> None:
    """From nothing to a verified table of one's own. The first shell installs the packages."""
    output = machine.type(shell, "\n".join(BLOCKS[title] for title in LAPTOP))
    assert "All 7 answers are the article's." in output
    assert "0002_documents applied in" in output
    assert "0003_index applied in" in output
    assert re.search(r"pass +rows +public\.documents +1,000 rows", output)
    assert re.search(r"pass +recall +public\.documents", output)
    assert re.search(r"(?m)^ *\d+ +0\.\d{6} +text \d+$", output)
    machine.type(shell, f"make destroy YES=1\n{CLEAN}")


@pytest.mark.rest
@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_server_of_ones_own(machine: Machine, shell: str, empty_database: str, tmp_path: Path) -> None:
    """The commands work as printed, except for the addresses: a first deployment, a pipeline, and a take-over."""
    engine = {
        "PATH": f"{machine.environment['PATH']}:{Path(shutil.which('pulumi') or '').parent}",
        "PULUMI_HOME": os.environ.get("PULUMI_HOME", str(Path.home() / ".pulumi")),
        "PULUMI_CREDENTIALS_PATH": str(tmp_path),
        "PULUMI_CONFIG_PASSPHRASE": "typed",
        "PULUMI_OPTION_YES": "true",
        **pg_variables(empty_database),
    }
    deploy = re.sub(r"(?m)^export PG.*\n", "", BLOCKS["own server"])
    deploy = deploy.replace("login --local", f"login {tmp_path.as_uri()}")  # --local takes no HOME for the home folder
    assert deploy.count("\n") == BLOCKS["own server"].count("\n") - 2
    assert all(f"`{command}`" in TEXT.replace("\n", " ") for command in PIPELINE)
    output = machine.type(shell, "\n".join([deploy, *PIPELINE[:2], "python -m seed sample", PIPELINE[2]]), **engine)
    assert "0001_create_embeddings applied in" in output
    assert "7 unchanged" in output
    assert re.search(r"15 checks: \d+ passed, \d+ not declared", output)

    machine.type(shell, "pulumi stack rm --yes --force mine", **engine)
    ask(empty_database, "DROP TABLE embeddings; DROP SCHEMA pgvector_seed CASCADE")
    ask(empty_database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(4)); INSERT INTO items VALUES (7)")
    output = machine.type(shell, f"pulumi stack init theirs\n{BLOCKS['take over']}", **engine)
    assert "applied in" not in output
    assert ask(empty_database, "SELECT id FROM items") == [(7,)]
    assert ask(empty_database, "SELECT id FROM pgvector_seed.migrations") == [("0001_create_items",)]
    machine.type(shell, CLEAN)
