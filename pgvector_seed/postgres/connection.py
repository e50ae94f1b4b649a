"""Connecting by libpq's own rules: PG* variables, service files, password files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgvector_seed.common.errors import InputError, UnreachableError
from pgvector_seed.postgres.auth import is_own_server, require_auth
from pgvector_seed.postgres.conninfo import CONNECT_TIMEOUT_SECONDS, libpq_default, timeout_limit
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.interrupt import stoppable
from pgvector_seed.postgres.refusals import OWN_IS_DOWN, is_invalid, message_of, remedy_of

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

APPLICATION = "pgvector-seed"
OLDEST_SERVER = 16


@contextmanager
def connect(conninfo: str = "", *, any_version: bool = False) -> Iterator[Connection]:
    """Yield a connection in autocommit mode, and close it at the end.

    libpq takes the parameters missing in ``conninfo`` from the environment. ``any_version`` allows an old server.

    Raises UnreachableError if the server cannot be reached or refuses the login, InputError if a parameter is not
    valid or the server is older than OLDEST_SERVER.
    """
    connection = _open(conninfo)
    try:
        if not any_version:
            _refuse_old(connection)
        with stoppable(connection):
            yield connection
    finally:
        connection.close()


def conninfo_of_server(connection: Connection) -> str:
    """Return the conninfo, with the password, of a further connection to the server that ``connection`` reached."""
    info = connection.info
    address: dict[str, Any] = {"host": info.host, "port": info.port, "password": info.password}
    if "hostaddr" in conninfo_to_dict(info.dsn):
        address["hostaddr"] = info.hostaddr
    return make_conninfo(info.dsn, **address)


def _open(conninfo: str) -> Connection:
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings only repeat the errors that we report
    try:
        defaults: dict[str, Any] = {**_timeout(conninfo), **require_auth(conninfo)}
        settings = make_conninfo(conninfo, fallback_application_name=APPLICATION, client_encoding="UTF8", **defaults)
        return psycopg.connect(settings, autocommit=True, prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise _invalid(error) from error
    except psycopg.OperationalError as error:
        if is_invalid(error):
            raise _invalid(error) from error
        message = message_of(error, libpq_default("host"))
        is_down = "Connection refused" in message and is_own_server(conninfo)
        remedy = OWN_IS_DOWN if is_down else remedy_of(message, libpq_default("hostaddr"))
        raise UnreachableError(message, remedy) from error


def _invalid(error: psycopg.Error) -> InputError:
    words = one_line(error).removeprefix("connection is bad: ")
    return InputError(f"the connection settings are not valid: {words}", "Check the PG* variables.")


def _timeout(conninfo: str) -> dict[str, int]:
    """Return our connect_timeout unless the user set one: libpq would wait for minutes for a silent server."""
    return {} if timeout_limit(conninfo) is not None else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}


def _refuse_old(connection: Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST_SERVER:
        raise InputError(
            f"the server at {connection.info.host}:{connection.info.port} is PostgreSQL {major}",
            f"PostgreSQL {OLDEST_SERVER} or later is needed: upgrade the server, or connect to another one.",
        )
