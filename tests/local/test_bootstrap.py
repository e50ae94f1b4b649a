"""Installing the pinned packages, with a package index that is a folder."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from local import bootstrap

WHEEL = "thing-1-py3-none-any.whl"
FILE = Path("requirements.txt")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one package of the index."""
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr("thing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
        archive.writestr("thing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.dist-info/RECORD", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path / WHEEL


def test_what_is_pinned_with_a_hash_is_installed_once(wheel: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is pinned without a hash is refused; a file that was changed is installed again."""
    pinned = f"thing==1 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    assert "Hashes are required" in refused("thing==1", capfd)
    FILE.write_text(pinned)
    assert bootstrap.install(FILE.name)
    assert not bootstrap.install(FILE.name)
    assert "thing==2" in refused(pinned.replace("1", "2", 1), capfd)


def refused(entry: str, capfd: pytest.CaptureFixture[str]) -> str:
    """Return what pip says when it cannot install this."""
    FILE.write_text(entry)
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.install(FILE.name)
    return capfd.readouterr().err
