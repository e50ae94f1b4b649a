"""Installing the pinned packages from a package index that is a folder."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from local import bootstrap
from local.binaries import INSTALLED
from tests.conftest import until

FILE = Path("requirements.txt")
PYTHON = Path(".venv/bin/python")
LOG = Path(".venv/install.log")


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that is also the package index. Protects the machine's Python from installations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")


def package(name: str, version: int = 1) -> str:
    """Add a package to the index, and return its pin."""
    wheel, record = Path(f"{name}-{version}-py3-none-any.whl"), f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version}")
        archive.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", f"{name}.py,,\n{record}/METADATA,,\n{record}/WHEEL,,\n{record}/RECORD,,\n")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n    # via me\n"


def version(name: str) -> str:
    """Return the version of a package in the environment."""
    command = [str(PYTHON), "-c", f"import {name}; print({name}.version)"]
    return str(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


@pytest.mark.rest
def test_what_is_pinned_with_a_hash_is_installed_once(capfd: pytest.CaptureFixture[str]) -> None:
    """A pin without a hash is refused, and a changed file is installed again."""
    pinned = package("thing")
    assert "Hashes are required" in refused("thing==1", capfd)
    FILE.write_text(pinned)
    assert bootstrap.install(FILE.name)
    assert not bootstrap.install(FILE.name)
    assert "thing==2" in refused(pinned.replace("1", "2", 1), capfd)


@pytest.mark.rest
def test_of_two_at_once_one_installs_and_the_other_waits() -> None:
    """Regression: two runs cleared each other's environment, and its Python became the machine's."""
    FILE.write_text(package("thing"))
    command = [sys.executable, bootstrap.__file__, FILE.name]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sorted("installed" in out for out, _ in printed) == [False, True], printed
    assert version("thing") == "1"


@pytest.mark.rest
def test_a_folder_whose_python_is_the_machines_is_no_environment() -> None:
    """Regression: after a kill in `venv --clear` packages were installed into the machine's Python."""
    PYTHON.parent.mkdir(parents=True)
    PYTHON.symlink_to(Path(sys.base_prefix, "bin", "python3"))
    FILE.write_text(package("thing"))
    assert bootstrap.install(FILE.name)
    assert version("thing") == "1"


@pytest.mark.rest
def test_an_installation_that_failed_is_begun_anew(capfd: pytest.CaptureFixture[str]) -> None:
    """Regression: pip trusted the remains of an interrupted installation, and refused to replace them."""
    first, second = package("thing"), package("thing", 2)
    FILE.write_text(first)
    assert bootstrap.install(FILE.name)
    (site,) = Path(".venv/lib").glob("*/site-packages")
    (site / "thing-1.dist-info/RECORD").unlink()
    FILE.write_text(second)
    assert bootstrap.main(FILE.name) == 2
    assert "the next run makes .venv anew" in capfd.readouterr().err
    (site / "thing.py").unlink()
    FILE.write_text(first)
    assert bootstrap.main(FILE.name) == 0
    assert version("thing") == "1"


def test_no_network_is_told_in_these_words(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: pip's retries and its advice were printed, and no line said that there was no network."""
    for offline in ({"PIP_INDEX_URL": "http://127.0.0.1:1/simple"}, {"PIP_INDEX_URL": "https://index.invalid/simple"}):
        for name, value in {"PIP_NO_INDEX": "0", "PIP_RETRIES": "1", **offline}.items():
            monkeypatch.setenv(name, value)
        FILE.write_text("thing==1 --hash=sha256:" + "0" * 64)
        assert bootstrap.main(FILE.name) == 2
        printed = capfd.readouterr()
        assert printed.err.startswith("error: no network: pip cannot reach its package index")
        assert "Traceback" not in printed.err
        assert len(printed.err.splitlines()) == 2
        assert "Could not find a version" in LOG.read_text()
        assert fits(printed.out + printed.err)


def test_the_installation_shows_that_it_is_going_on(capfd: pytest.CaptureFixture[str]) -> None:
    """Regression: nothing was printed for a minute. Without a terminal a line is printed before and one after."""
    FILE.write_text(package("thing"))
    assert bootstrap.main(FILE.name) == 0
    before, after = capfd.readouterr().out.splitlines()
    assert before == "Packages   installing requirements.txt into .venv (log: .venv/install.log)"
    assert after.startswith("Packages   requirements.txt installed into .venv in ")
    assert "Successfully installed thing-1" in LOG.read_text()
    assert bootstrap.main(FILE.name) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.rest
def test_on_a_terminal_the_seconds_are_counted() -> None:
    """One line counts the packages and the seconds, and is replaced by the result at the end."""
    FILE.write_text(package("thing"))
    ours, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, bootstrap.__file__, FILE.name], stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        printed = b""
        with suppress(OSError):  # the terminal's other end is closed
            while read := os.read(ours, 4096):
                printed += read
    assert process.returncode == 0
    counted = printed.decode().split("\r")
    assert any(
        re.match(r"Packages   installing requirements.txt into .venv: \d+ found, \d+ s", line) for line in counted
    )
    assert fits("\n".join(counted))


@pytest.mark.parametrize("moment", ["venv", "pip"])
def test_an_interrupt_ends_it_with_130_and_without_a_traceback(moment: str) -> None:
    """Regression: Ctrl-C while .venv was made showed the tracebacks of venv and pip."""
    FILE.write_text(package("thing"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environment = {**os.environ, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": index}
        process = subprocess.Popen(
            [sys.executable, bootstrap.__file__, FILE.name],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if moment == "pip":
            silent.accept()[0].close()  # pip tries again, as it gets no answer
        else:
            until(lambda: PYTHON.exists())
        os.killpg(process.pid, signal.SIGINT)
        printed = process.communicate()[0]
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert printed.endswith("\ninterrupted. Run the same command again.\n")
    assert bootstrap.main(FILE.name) == 0


def test_a_version_that_is_not_brought_is_refused_before_anything_is_installed() -> None:
    """Regression: PG=17 was announced as this folder's own PostgreSQL 17, and refused after a minute."""
    assert set(bootstrap.MAJORS) == set(map(str, INSTALLED)), "the one place that cannot import them"
    FILE.write_text(package("thing"))
    command = [sys.executable, bootstrap.__file__, FILE.name, "--name-server"]
    run = subprocess.run(command, env={**os.environ, "PG": "17"}, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "error: PG=17: make brings PostgreSQL 18 and 16\n  Run: make up PG=18\n"
    assert not PYTHON.exists()


@pytest.mark.rest
def test_what_another_file_has_replaced_is_installed_again() -> None:
    """Regression: each file's record ignored what another file had installed in the same .venv."""
    first, other, newer = package("thing"), package("other"), package("thing", 2)
    for name, pins in {"small.txt": first, "whole.txt": other + first, "newer.txt": newer}.items():
        Path(name).write_text(pins)
    assert bootstrap.install("whole.txt")
    assert not bootstrap.install("small.txt"), "a part of what is there"
    assert bootstrap.install("newer.txt")
    assert version("thing") == "2"
    assert bootstrap.install("small.txt")
    assert version("thing") == "1"


@pytest.mark.rest
def test_files_with_other_packages_keep_what_is_installed() -> None:
    """Several files are installed at once, and neither `make up` nor `make words` makes the other install again."""
    first, other, newer = package("thing"), package("other"), package("thing", 2)
    for name, pins in {"up.txt": first, "words.txt": other, "newer.txt": newer}.items():
        Path(name).write_text(pins)
    assert bootstrap.install("up.txt", "words.txt")
    assert (version("thing"), version("other")) == ("1", "1")
    assert not bootstrap.install("up.txt")
    assert bootstrap.install("newer.txt")
    assert not bootstrap.install("words.txt"), "still installed"
    assert bootstrap.install("up.txt", "words.txt")
    assert version("thing") == "1"


def fits(text: str) -> bool:
    """Return True if no line is longer than 80 columns."""
    return all(len(line) <= 80 for line in text.splitlines())


def refused(entry: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Return pip's error for a requirement that it cannot install."""
    FILE.write_text(entry)
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.install(FILE.name)
    return capfd.readouterr().err
