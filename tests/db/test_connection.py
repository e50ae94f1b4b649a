"""Connecting, and what is found before anything is created."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest

from postgres.connection import connect
from postgres.errors import InputError, UnreachableError
from postgres.preflight import preflight


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@pytest.fixture
def old_server() -> Iterator[str]:
    """Something that greets as PostgreSQL 15 does: login accepted, its version, ready."""
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


def test_a_server_that_never_answers_is_given_up() -> None:
    """Without a limit of our own the driver waits for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        silent = f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable connect_timeout=2"
        with pytest.raises(UnreachableError, match="timeout"), connect(silent):
            pass


def test_a_fit_server_passes_the_preflight(database: str, empty_database: str) -> None:
    preflight(database)
    preflight(empty_database)


def test_a_server_without_pgvector_is_told_how_to_get_it(empty_database: str) -> None:
    """By the name of the package and of the image."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("only PostgreSQL 18 can look for extensions elsewhere; run with PG 18 to see this")
        name = connection.info.dbname.replace('"', '""')
        connection.execute(f"ALTER DATABASE \"{name}\" SET extension_control_path = '/nowhere'".encode())
    with pytest.raises(InputError) as caught:
        preflight(empty_database)
    assert "postgresql-18-pgvector" in str(caught.value)
    assert "pgvector/pgvector:pg18" in str(caught.value)
