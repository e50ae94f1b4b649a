"""The server's address: libpq's rules, and the part of them that the PostgreSQL provider can follow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pulumi
import pytest
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

from pgvector_seed.common.errors import InputError
from pgvector_seed.infra.address import resolve_address
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.postgres.conninfo import as_login, as_role, is_loopback, resolve


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "of-the-environment")
    monkeypatch.setenv("PGPORT", "7777")
    address = resolve_address({"host": "given", "user": "al", "dbname": "app"})
    assert (address.host, address.port, address.user, address.dbname) == ("given", 7777, "al", "app")


def test_the_password_file_is_read_by_libpq(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("db:5432:*:al:p@ss/w\\:rd%&#\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    assert resolve_address({"host": "db", "user": "al"}).password == "p@ss/w:rd%&#"
    assert resolve_address({"host": "other", "user": "al"}).password == ""


def test_a_service_is_resolved_and_an_unknown_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("[there]\nhost=db.example\nport=7777\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    assert resolve({"service": "there"})["host"] == "db.example"
    assert resolve_address({"service": "there"}).require_auth is None
    file.write_text("[there]\nhost=localhost\nrequire_auth=password\n")
    assert "require_auth=password" in resolve_address({"service": "there"}).conninfo("x"), (
        "the only way to say it to pulumi"
    )
    with pytest.raises(InputError, match="nowhere"):
        resolve({"service": "nowhere"})


@pytest.mark.parametrize("name", ["PGSERVICE", "PGHOSTADDR"])
def test_the_program_refuses_what_one_side_alone_would_follow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that would lead provider and migrations to two servers is refused under any verb."""
    monkeypatch.setenv(name, "192.0.2.1")
    with pytest.raises(pulumi.RunError, match=rf"Run the same command without it: env -u {name} pulumi \.\.\."):
        resolve_address({"host": "db"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1,localhost"])
def test_psycopg_goes_to_the_host_that_it_is_told(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Regression: PGHOSTADDR and PGSERVICE led the refresh or the destroy of an earlier up to another server."""
    conninfo = resolve_address({"host": host, "port": "5", "dbname": "app", "user": "al"}).conninfo("")
    services = tmp_path / "services"
    services.write_text("[there]\nhost=192.0.2.1\nhostaddr=192.0.2.1\nport=7\n")
    for name, value in {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "there", "PGSERVICEFILE": str(services)}.items():
        monkeypatch.setenv(name, value)
    attempts = [make_conninfo("", **attempt) for attempt in conninfo_attempts(conninfo_to_dict(conninfo))]
    for attempt in attempts:
        dialed = PGconn.connect_start(attempt.encode())
        assert (dialed.hostaddr, dialed.port) in ((b"127.0.0.1", b"5"), (b"::1", b"5"))
        dialed.finish()
    assert len(attempts) >= len(host.split(","))


@pytest.mark.parametrize("host", ["", "/var/run/postgresql"])
def test_what_the_provider_cannot_dial_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", host)
    with pytest.raises(pulumi.RunError, match="connects by TCP"):
        resolve_address({})


def test_an_empty_port_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "")
    assert resolve_address({"host": "db"}).port == 5432


@pytest.mark.parametrize(
    ("host", "sslmode"), [("127.0.0.1", "disable"), ("localhost", "disable"), ("::1", "disable"), ("db", "require")]
)
def test_a_plain_connection_is_for_loopback_alone(host: str, sslmode: str) -> None:
    assert resolve_address({"host": host}).sslmode == sslmode
    assert is_loopback(host) == (sslmode == "disable")


def test_an_sslmode_that_the_provider_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "allow")
    with pytest.raises(pulumi.RunError, match="verify-full"):
        resolve_address({"host": "db"})


def test_conninfo_survives_odd_names_and_hides_the_password_from_repr() -> None:
    address = resolve_address({"host": "db", "user": "o'al \\", "dbname": "odd-name = x"})
    back = conninfo_to_dict(address.conninfo("p@ss/w:rd%&#'\\ "))
    assert (back["user"], back["dbname"], back["password"]) == ("o'al \\", "odd-name = x", "p@ss/w:rd%&#'\\ ")
    assert "password" not in as_data(address.declared())
    assert "s3cret" not in repr(dataclasses.replace(address, password="s3cret"))
    assert "user" not in as_data(address.declared())


@pytest.mark.parametrize("options", ["", "-c role=other", "-c work_mem=8MB"])
@pytest.mark.parametrize("role", ["app_owner", 'Od"d 😀 \\ owner', "a -c role=b", "-c", "\\"])
def test_a_role_is_taken_on_and_left_with_any_name(role: str, options: str) -> None:
    """The options of a conninfo are as before once the role was set and removed."""
    conninfo = make_conninfo("host=db", options=options)
    assert conninfo_to_dict(as_login(as_role(conninfo, role))) == conninfo_to_dict(conninfo)


def test_without_a_role_nothing_is_left() -> None:
    assert as_login("host=db options='-c work_mem=8MB'") == "host=db options='-c work_mem=8MB'"
