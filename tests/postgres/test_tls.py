"""Failing TLS: libpq's error for a certificate, and the remedy."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from local.binaries import INSTALLED
from local.server import Server
from local.workspace import ROOT
from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.postgres.connection import connect
from tests.conftest import pg_variables
from tests.tls import Authority, speaking_tls

COMMANDS = (("seed", "migrate", "status"), ("seed", "verify"))


@pytest.fixture
def server(start_server: Callable[[int], Server]) -> Server:
    """Return a server of the newest major version only: TLS is the proxy's."""
    return start_server(max(INSTALLED))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return an authority that no client trusts by default."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Authority(tmp_path)


def tls(conninfo: str, port: int, **settings: str) -> str:
    """Return the database's conninfo with TLS through a proxy."""
    return make_conninfo(conninfo, **{"host": "localhost", "port": str(port), "sslmode": "verify-full"} | settings)


def error_of(conninfo: str) -> str:
    """Return the error of a connection that fails."""
    with pytest.raises(UnreachableError) as caught, connect(conninfo):
        pass
    return str(caught.value)


def run(words: tuple[str, ...], conninfo: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with these words and this connection in the environment."""
    environment = {**os.environ, **pg_variables(conninfo), **settings}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


WRONG = {
    "expired": (lambda one, _: one.server(expired=True), "certificate verify failed", "has expired"),
    "another name": (
        lambda one, _: one.server("db.example.org"),
        'server certificate for "db.example.org" does not match host name "localhost"',
        "pulumi config set host",
    ),
    "another authority": (
        lambda _, other: other.server(),
        "certificate verify failed",
        "pulumi config set sslrootcert",
    ),
    "a client's is asked for": (
        lambda one, _: one.server(asks=True),
        "connection requires a valid client certificate",
        "PGSSLCERT",
    ),
}


@pytest.mark.parametrize(("make", "words", "remedy"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_is_wrong(
    make: Callable[[Authority, Authority], ssl.SSLContext],
    words: str,
    remedy: str,
    authority: Authority,
    server: Server,
    database: str,
    tmp_path: Path,
) -> None:
    """Each command exits with 3, and prints the error and its remedy without a traceback."""
    other = tmp_path / "other"
    other.mkdir()
    with speaking_tls(server, make(authority, Authority(other))) as proxy:
        for command in COMMANDS:
            done = run(command, tls(database, proxy.port), PGSSLMODE="verify-full", PGSSLROOTCERT=str(authority.root))
            output = done.stdout + done.stderr
            assert done.returncode == 3, output
            assert words in output
            assert remedy in output
            assert "Traceback" not in output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_clients_certificate_lets_in(
    command: tuple[str, ...], authority: Authority, server: Server, database: str
) -> None:
    certificate, key = authority.client("al")
    settings = {"PGSSLCERT": str(certificate), "PGSSLKEY": str(key), "PGSSLROOTCERT": str(authority.root)}
    assert run(("seed", "migrate", "apply"), database).returncode == 0
    assert run(("seed", "sample"), database).returncode == 0
    with speaking_tls(server, authority.server(asks=True)) as proxy:
        done = run(command, tls(database, proxy.port), PGSSLMODE="verify-full", **settings)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_default_files_are_found(authority: Authority, server: Server, database: str, tmp_path: Path) -> None:
    home = tmp_path / "home" / ".postgresql"
    home.mkdir(parents=True)
    certificate, key = authority.client("al")
    for source, name in ((authority.root, "root.crt"), (certificate, "postgresql.crt"), (key, "postgresql.key")):
        shutil.copy(source, home / name)
    with speaking_tls(server, authority.server(asks=True)) as proxy, connect(tls(database, proxy.port)) as connection:
        assert connection.pgconn.ssl_in_use


def test_the_systems_authorities(
    authority: Authority, server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides obey SSL_CERT_FILE: the driver's OpenSSL may not know the system's file."""
    with speaking_tls(server, authority.server()) as proxy:
        systems = tls(database, proxy.port, sslrootcert="system")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert "SSL_CERT_FILE is the file of" in error_of(systems)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
        with connect(systems) as connection:
            assert connection.pgconn.ssl_in_use


def test_files_that_cannot_be_used(authority: Authority, server: Server, database: str, tmp_path: Path) -> None:
    certificate, key = authority.client("al")
    key.chmod(0o644)
    with speaking_tls(server, authority.server(asks=True)) as proxy:
        here = tls(database, proxy.port, sslrootcert=str(authority.root))
        assert "chmod 600" in error_of(make_conninfo(here, sslcert=str(certificate), sslkey=str(key)))
        missing = error_of(make_conninfo(here, sslrootcert="nowhere"))
        key.chmod(0o600)
        another, no_key = authority.client("bo")[1], tmp_path / "no.key"
        no_key.write_text("x")
        no_key.chmod(0o600)
        remedies = {"nowhere": "PGSSLKEY", str(another): "belong together", str(no_key): "PGSSLKEY"}
        for path, words in remedies.items():
            assert words in error_of(make_conninfo(here, sslcert=str(certificate), sslkey=path))
        assert "PGSSLCERT" in error_of(make_conninfo(here, sslcert=str(tmp_path), sslkey=str(key)))
    assert 'root certificate file "nowhere" does not exist' in missing
    assert "pulumi config set sslrootcert" in missing


def test_a_server_without_tls(authority: Authority, database: str) -> None:
    output = error_of(make_conninfo(database, sslmode="verify-full", sslrootcert=str(authority.root)))
    assert "server does not support SSL" in output
    assert "PGSSLMODE" in output
