"""Connecting, and the checks of the server before anything is created."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgvector_seed.common.errors import InputError, UnreachableError
from pgvector_seed.infra.preflight import preflight
from pgvector_seed.postgres.auth import OWN_SERVER
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import connect_timeout
from tests.conftest import pg_variables
from tests.thief import thief


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@pytest.fixture
def old_server() -> Iterator[str]:
    """Yield the conninfo of a program that greets as PostgreSQL 15: login accepted, its version, ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                version = message(b"S", b"server_version\x0015.14\x00")
                encoding = message(b"S", b"client_encoding\x00UTF8\x00")
                connection.sendall(message(b"R", bytes(4)) + version + encoding + message(b"Z", b"I"))
                connection.recv(1024)

        thread = threading.Thread(target=greet)
        thread.start()
        port = listener.getsockname()[1]
        yield f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable gssencmode=disable"
        thread.join()


def test_a_server_that_is_too_old_is_refused(old_server: str) -> None:
    with pytest.raises(InputError, match=r"is PostgreSQL 15\. PostgreSQL 16 or later is needed"), connect(old_server):
        pass


SECRET = "s3cret"
ON_THIS_MACHINE = {
    "address": "host=127.0.0.1 port={}",
    "name": "host=localhost port={}",
    "address of a name": "host=db.example hostaddr=127.0.0.1 port={}",
    "one of several": "host=127.0.0.1,192.0.2.1 port={0},{0} connect_timeout=2",
    "TLS where there is some": "host=127.0.0.1 port={} sslmode=prefer",
    "no TLS": "host=127.0.0.1 port={} sslmode=disable",
    "name in capitals": "host=LOCALHOST port={}",
    "address in short": "host=127.1 port={}",
    "address as a number": "host=2130706433 port={}",
    "any address": "host=0.0.0.0 port={}",
    "address mapped": "host=::ffff:127.0.0.1 port={}",
    "hostaddr that is any": "host=db.example hostaddr=0.0.0.0 port={}",
    "hostaddr for another": "host=localhost,x hostaddr=,192.0.2.1 port={0},{0} connect_timeout=2",
}


@pytest.mark.parametrize("place", ON_THIS_MACHINE.values(), ids=list(ON_THIS_MACHINE))
def test_a_server_on_this_machine_is_told_no_password_in_clear(place: str) -> None:
    """Regression: a program on the port of a stopped server was sent the password."""
    with thief() as its, pytest.raises(UnreachableError, match="PGREQUIREAUTH=password"):
        open_and_close(f"{place.format(its.port)} password={SECRET}")
    assert its.asked > 0
    assert its.heard == []


def test_it_does_not_matter_who_names_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule holds for servers that the environment or a service file names."""
    with thief() as its:
        for name, value in {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(its.port), "PGPASSWORD": SECRET}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UnreachableError):
            open_and_close("host=db.example")
        monkeypatch.delenv("PGHOSTADDR")
        (tmp_path / "services").write_text(f"[here]\nhost=localhost\nport={its.port}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        monkeypatch.setenv("PGSERVICE", "here")
        with pytest.raises(UnreachableError):
            open_and_close("")
    assert (its.asked > 1, its.heard) == (True, [])


def test_a_user_may_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit setting of the user permits a password in clear, as some servers need it."""
    with thief() as its:
        place = f"host=127.0.0.1 port={its.port} password={SECRET}"
        with pytest.raises(UnreachableError):
            open_and_close(f"{place} require_auth=password")
        monkeypatch.setenv("PGREQUIREAUTH", "password")
        with pytest.raises(UnreachableError):
            open_and_close(place)
    assert [SECRET.encode() in heard for heard in its.heard] == [True, True]


def test_makes_own_server_must_know_the_password(
    database: str, old_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that admits any password is not taken for make's own."""
    port = conninfo_to_dict(old_server)["port"]
    monkeypatch.setenv(OWN_SERVER, f"127.0.0.1:{port}")
    with pytest.raises(UnreachableError, match='"scram-sha-256" failed'):
        open_and_close(old_server)
    monkeypatch.setenv(OWN_SERVER, f"127.0.0.1:{conninfo_to_dict(database)['port']}")
    open_and_close(database)


def open_and_close(conninfo: str) -> None:
    with connect(f"user=x dbname=x {conninfo}" if "dbname" not in conninfo else conninfo):
        pass


def test_a_server_that_never_answers_is_given_up() -> None:
    """Our connect timeout ends the attempt, for which the driver would wait for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        silent = f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable connect_timeout=2"
        with pytest.raises(UnreachableError, match="timeout"), connect(silent):
            pass


def test_a_fit_server_passes_the_preflight(database: str, empty_database: str) -> None:
    preflight(database)
    preflight(empty_database)


def test_a_server_without_pgvector_is_told_how_to_get_it(empty_database: str) -> None:
    """The remedy names the package and the image that have pgvector."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("only PostgreSQL 18 can look for extensions elsewhere; run with PG 18 to see this")
        name = connection.info.dbname.replace('"', '""')
        connection.execute(f"ALTER DATABASE \"{name}\" SET extension_control_path = '/nowhere'".encode())
    with pytest.raises(InputError) as caught:
        preflight(empty_database)
    assert "postgresql-18-pgvector" in str(caught.value)
    assert "pgvector/pgvector:pg18" in str(caught.value)


@pytest.mark.parametrize("timeout", ["10s", "1.5"])
def test_a_timeout_that_is_not_a_number_is_refused(timeout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it ended verify with the traceback of a ValueError."""
    monkeypatch.setenv("PGCONNECT_TIMEOUT", timeout)
    with pytest.raises(InputError, match=f"PGCONNECT_TIMEOUT is not a number of seconds: {timeout}"):
        connect_timeout("host=db", 60)


def test_an_empty_variable_is_libpqs_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: an empty PGPORT, as of a variable that is not set in a pipeline, ended in a traceback."""
    monkeypatch.setenv("PGPORT", "")
    with pytest.raises(UnreachableError, match="5432"):
        open_and_close("host=127.0.0.2")


REFUSED_BY_LIBPQ = {
    "PGCONNECT_TIMEOUT": ("abc", "1.5", "10s"),
    "PGPORT": ("abc", "0", "99999", "1,2"),
    "PGSSLMODE": ("bogus",),
    "PGSSLMINPROTOCOLVERSION": ("abc",),
    "PGTARGETSESSIONATTRS": ("abc",),
    "PGHOSTADDR": ("abc",),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in REFUSED_BY_LIBPQ for value in REFUSED_BY_LIBPQ[name]]
)
def test_a_variable_that_libpq_refuses_is_bad_input(
    name: str, value: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: most were exit 3, as if the server could not be reached, and named PGHOST."""
    settings = pg_variables(database)
    for variable, text in {**settings, name: value}.items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(InputError) as caught:
        open_and_close("sslrootcert=")
    assert not isinstance(caught.value, UnreachableError)
    assert value.partition(",")[0] in caught.value.message
    assert "PG* variables" in caught.value.remedy or "PGCONNECT_TIMEOUT" in caught.value.message


REFUSED_BY_THE_SERVER = {
    "-c nope=1": ('unrecognized configuration parameter "nope"', "PGOPTIONS"),
    "-c work_mem=x": ('invalid value for parameter "work_mem": "x"', "PGOPTIONS"),
    "-x": ("invalid command-line argument", "PGOPTIONS"),
    "-c role=nobody": ('role "nobody" does not exist', "if it sets a role, PGOPTIONS"),
}


@pytest.mark.parametrize("options", REFUSED_BY_THE_SERVER)
@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_options_that_the_server_refuses(
    options: str, sslmode: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's words are told once, also if libpq tried with and without TLS, and the remedy names the variable."""
    words, remedy = REFUSED_BY_THE_SERVER[options]
    monkeypatch.setenv("PGOPTIONS", options)
    with pytest.raises(UnreachableError) as caught:
        open_and_close(make_conninfo(database, sslmode=sslmode))
    assert caught.value.message.count(words) == 1
    assert remedy in caught.value.remedy


def test_a_server_that_is_down_is_told_in_one_line_of_a_terminal(database: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        open_and_close(make_conninfo(database, port=1))
    assert caught.value.message == 'connection to server at "127.0.0.1", port 1 failed: Connection refused'
    assert "PGHOSTADDR" not in caught.value.remedy


def test_an_address_that_wins_over_the_host_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    with pytest.raises(UnreachableError) as caught:
        open_and_close(make_conninfo(database, host="db.example", port=1))
    assert "PGHOSTADDR" in caught.value.remedy
