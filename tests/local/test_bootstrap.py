"""Installing the pinned packages from a package index that is a folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local import bootstrap

FILE = Path("requirements.txt")
PYTHON = Path(".venv/bin/python")


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


def refused(entry: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Return pip's error for a requirement that it cannot install."""
    FILE.write_text(entry)
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.install(FILE.name)
    return capfd.readouterr().err
