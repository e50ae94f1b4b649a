"""The files of TLS: differences between libpq's rules and the provider's are refused before any declaration."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.infra.address import resolve_address
from pgvector_seed.infra.config import parse


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder in which libpq and the provider look for default files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".postgresql"
    folder.mkdir()
    return folder


def make(folder: Path, *names: str, mode: int = 0o600) -> None:
    for name in names:
        (folder / name).write_text("")
        (folder / name).chmod(mode)


def test_the_keys_win_over_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, "a.crt", "b.crt", "b.key")
    monkeypatch.setenv("PGSSLROOTCERT", "nowhere")
    monkeypatch.setenv("PGSSLCERT", str(home / "b.crt"))
    keys = {"host": "db", "sslmode": "verify-full", "sslrootcert": str(home / "a.crt"), "sslkey": str(home / "b.key")}
    address = resolve_address(parse(keys).connection)  # type: ignore[arg-type]
    expected = {"sslrootcert": f"{home}/a.crt", "sslcert": f"{home}/b.crt", "sslkey": f"{home}/b.key"}
    assert address.files == expected
    assert conninfo_to_dict(address.conninfo("")).items() >= expected.items()


def test_the_default_files_are_left_to_both_sides(home: Path) -> None:
    """Default files are not named: the shared state must not have one person's home."""
    make(home, "root.crt", "postgresql.crt", "postgresql.key")
    assert resolve_address({"host": "db", "sslmode": "verify-full"}).files == {}


def test_a_certificate_or_a_key_alone_goes_with_the_default_other(home: Path) -> None:
    """The missing half is the default file, as the provider ignores one half alone."""
    make(home, "my.crt", "postgresql.key")
    expected = {"sslcert": str(home / "my.crt"), "sslkey": str(home / "postgresql.key")}
    assert resolve_address({"host": "db", "sslcert": str(home / "my.crt")}).files == expected


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_no_root_certificate_at_all(home: Path, sslmode: str) -> None:
    """A missing root certificate is refused, as by libpq; the provider would trust the system's authorities."""
    with pytest.raises(pulumi.RunError, match=r"root.crt.*pulumi config set sslrootcert"):
        resolve_address({"host": "db", "sslmode": sslmode})
    make(home, "root.crt")
    assert resolve_address({"host": "db", "sslmode": sslmode}).sslmode == sslmode


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
def test_a_file_that_is_named_and_missing(home: Path, name: str) -> None:
    """A missing file is refused under require, too, where both sides would ignore it and verify nothing."""
    make(home, "postgresql.crt", "postgresql.key")
    with pytest.raises(pulumi.RunError, match=f"{name}: .*nowhere.*pulumi config set {name}"):
        resolve_address({"host": "db", "sslmode": "require", name: "nowhere"})


@pytest.mark.parametrize("named", [True, False])
def test_a_key_that_others_may_read(home: Path, named: bool) -> None:
    make(home, "postgresql.crt", "postgresql.key")
    (home / "postgresql.key").chmod(0o644)
    files = {"sslcert": str(home / "postgresql.crt")} if named else {}
    with pytest.raises(pulumi.RunError, match=f"chmod 600 {home}/postgresql.key"):
        resolve_address({"host": "db", "sslmode": "require", **files})


def test_the_systems_authorities_are_for_full_verification(home: Path) -> None:  # noqa: ARG001
    """The value sslrootcert=system implies verify-full, and is refused with any other mode."""
    assert resolve_address({"host": "db", "sslrootcert": "system"}).sslmode == "verify-full"
    with pytest.raises(pulumi.RunError, match="weak sslmode"):
        resolve_address({"host": "db", "sslrootcert": "system", "sslmode": "require"})


def test_without_tls_no_file_is_looked_at(home: Path) -> None:  # noqa: ARG001
    assert resolve_address({"host": "db", "sslmode": "disable", "sslrootcert": "nowhere"}).files == {}


def test_who_names_an_authority_wants_tls_on_loopback_too(home: Path) -> None:
    """A root certificate implies TLS on loopback, where a tunnel may end."""
    make(home, "a.crt")
    assert resolve_address({"host": "localhost", "sslrootcert": str(home / "a.crt")}).sslmode == "require"
