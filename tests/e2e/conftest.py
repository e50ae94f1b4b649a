"""Copies of the project to run commands in, and stacks on the real engine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from local.binaries import INSTALLED
from local.server import Server
from local.workspace import ROOT
from tests.conftest import Process, pg_variables, remove
from tests.roles import Names, new_names


def copy_project(target: Path) -> Path:
    """Copy the files that git tracks or would add, and commit them in a new repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "as it is"]):
        subprocess.run(["git", *words], cwd=target, check=True)
    return target


def readme_block(title: str, file: str = "README.md") -> str:
    """Return the fenced block that follows the comment ``<!-- title -->`` in the README or in another page."""
    text = (ROOT / file).read_text(encoding="utf-8")
    block = re.search(rf"<!-- {re.escape(title)} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert block is not None, title
    return block[1]


def run(words: Sequence[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command without standard input; ``stdout`` of the result has both outputs."""
    with start(words, folder, **settings) as process:
        printed = process.communicate()[0]
    return subprocess.CompletedProcess(words, process.returncode, printed)


def start(words: Sequence[str], folder: Path, **settings: str) -> Process:
    """Start a command in its own process group, as a terminal does: a signal to the group reaches no test."""
    return Process(
        words,
        cwd=folder,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def succeed(words: Sequence[str], folder: Path) -> None:
    """Run a command and assert that its exit code is 0."""
    done = run(words, folder)
    assert done.returncode == 0, done.stdout


def install(wheel: Path, requirements: Path, folder: Path) -> Path:
    """Create a virtual environment with the wheel and its pinned dependencies; `pip check` passes in it."""
    environment = folder / "venv"
    succeed([sys.executable, "-m", "venv", str(environment)], folder)  # the engine asks its pip what is installed
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    succeed([*pip, "install", "--require-hashes", "--requirement", str(requirements)], folder)
    succeed([*pip, "install", "--no-index", "--no-deps", str(wheel)], folder)
    succeed([*pip, "check"], folder)
    return environment


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with a wheel and a sdist in dist/."""
    folder = copy_project(tmp_path_factory.mktemp("a build") / "project")
    succeed([sys.executable, "-m", "hatchling", "build"], folder)
    return folder


@pytest.fixture(scope="session")
def wheel(project: Path) -> Path:
    """Return the wheel of the project's copy."""
    (wheel,) = (project / "dist").glob("*.whl")
    return wheel


def kill_all_in(folder: Path) -> None:
    """Kill the processes whose working directory is this folder: a killed engine leaves its providers running."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.cwd() == str(folder):
                process.kill()


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a fresh clone, in a path with a space, and remove its servers at the end."""
    folder = copy_project(tmp_path_factory.mktemp("a fresh") / "clone")
    yield folder
    kill_all_in(folder)
    for major in INSTALLED:
        remove(Server(folder / ".local" / str(major), major))


WHAT_IS_THERE = (
    "SELECT to_regclass('embeddings')::text, to_regnamespace('pgvector_seed')::text, "
    "(SELECT extname FROM pg_extension WHERE extname = 'vector')"
)
EVERYTHING = [("embeddings", "pgvector_seed", "vector")]
NOTHING = [(None, None, None)]


@dataclass
class Stack:
    """The stack ``dev`` of a copy of the project, on a database of its own."""

    folder: Path
    conninfo: str
    settings: dict[str, str] = field(default_factory=dict)
    administrator: str = ""

    def __post_init__(self) -> None:
        state = self.folder.parent / "state"
        state.mkdir()
        self.settings |= pg_variables(self.conninfo)
        self.settings |= {"PULUMI_BACKEND_URL": state.as_uri(), "PULUMI_CONFIG_PASSPHRASE": "x", "PULUMI_STACK": "dev"}
        self.settings["PULUMI_SKIP_UPDATE_CHECK"] = "true"
        self.pulumi("stack", "init", "dev")

    def pulumi(self, *words: str, code: int = 0, **settings: str) -> str:
        """Run the CLI, assert its exit code, and return its output."""
        done = run(["pulumi", *words], self.folder, **{**self.settings, **settings})
        assert done.returncode == code, done.stdout
        return done.stdout

    def up(self, *words: str, code: int = 0, **settings: str) -> str:
        """Run ``pulumi up`` without a preview."""
        return self.pulumi("up", "--yes", "--skip-preview", *words, code=code, **settings)

    def destroy(self, code: int = 0, **settings: str) -> str:
        """Run ``pulumi destroy`` without a preview."""
        return self.pulumi("destroy", "--yes", "--skip-preview", code=code, **settings)

    def start(self, *words: str) -> Process:
        """Start the CLI and return its process."""
        return start(["pulumi", *words], self.folder, **self.settings)

    def set(self, key: str, value: str) -> None:
        """Run ``pulumi config set``."""
        self.pulumi("config", "set", key, value)

    def write(self, name: str, text: str) -> None:
        """Write a file of the copy."""
        (self.folder / name).write_text(text)


@pytest.fixture(scope="session")
def cli() -> None:
    """Skip the test if Pulumi's CLI is missing; fail instead under REQUIRE_PULUMI=1."""
    if shutil.which("pulumi") is None:
        if os.environ.get("REQUIRE_PULUMI") == "1":
            pytest.fail("REQUIRE_PULUMI=1, and there is no pulumi on PATH")
        pytest.skip("there is no pulumi on PATH; with the CLI installed this test runs")


@pytest.fixture
def stack(cli: None, empty_database: str, tmp_path: Path) -> Iterator[Stack]:  # noqa: ARG001
    """Yield a stack of the real engine on an empty database."""
    folder = copy_project(tmp_path / "project")
    (folder / ".venv").symlink_to(sys.prefix)
    yield Stack(folder, empty_database)
    kill_all_in(folder)


@pytest.fixture
def server(start_server: Callable[[int], Server]) -> Server:
    """Return a server of the newest major version only: the engine is indifferent to it, and these tests are slow."""
    return start_server(max(INSTALLED))


@pytest.fixture
def names(server: Server) -> Iterator[Names]:
    """Yield names for an owner, a writer and a reader."""
    with new_names(server) as names:
        yield names
