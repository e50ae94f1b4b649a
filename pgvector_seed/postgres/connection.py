"""Connecting by libpq's own rules: PG* variables, service files, password files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgvector_seed.common.errors import InputError, UnreachableError
from pgvector_seed.common.remedies import in_checkout, setting, settings
from pgvector_seed.postgres.auth import is_own_server, require_auth
from pgvector_seed.postgres.conninfo import CONNECT_TIMEOUT_SECONDS, libpq_default
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.interrupt import stoppable

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

APPLICATION = "pgvector-seed"
OLDEST_SERVER = 16
ALL_FAILURES = "Multiple connection attempts failed. All failures were: "

_ROOT = f"Set PGSSLROOTCERT (Pulumi: {setting('sslrootcert')}) to"
_LOGIN = f"Set PGPASSWORD or PGPASSFILE (Pulumi: {setting('password')}) to this user's password"
_CERTIFICATE = (
    f"Set PGSSLCERT and PGSSLKEY (Pulumi: {settings('sslcert', 'sslkey')}) to a certificate that the server accepts."
)
# Part of an error message of libpq or the server -> remedy. The first match counts.
REMEDIES = {
    "password authentication failed": f"{_LOGIN}, which may also have expired: ALTER ROLE ... VALID UNTIL.",
    "no password supplied": f"{_LOGIN}.",
    '"!password" failed': (
        "Another program may have taken the server's port, and would be told the password. If the server is right: "
        "PGREQUIREAUTH=password before the same command (Pulumi: require_auth=password in a service file)."
    ),
    '"scram-sha-256" failed': (
        "PGREQUIREAUTH asks for a server that knows the password, and this one does not show that it does: check "
        "PGHOST and PGPORT."
        + in_checkout(
            " If it should be the server that make brings, that is down or has another port. "
            'Run: make up; eval "$(make env)"'
        )
    ),
    "certificate verify failed": (
        f"{_ROOT} the certificate of the server's authority. If it is, the server's own certificate has expired. "
        "For PGSSLROOTCERT=system, SSL_CERT_FILE is the file of the system's authorities."
    ),
    "does not match host name": (
        f"Set PGHOST (Pulumi: {setting('host')}) to a name in the certificate; PGHOSTADDR may then have the address."
    ),
    "root certificate file": f"{_ROOT} the file of the authority's certificate.",
    "could not read root certificate": f"{_ROOT} the file of the authority's certificate.",
    "private key file": "Only its owner may read a key: chmod 600 FILE.",
    "valid client certificate": _CERTIFICATE,
    "certificate required": _CERTIFICATE,
    "definition of service": "Check PGSERVICE and PGSERVICEFILE.",
    "too many": "Wait until other sessions have ended, or raise the limit.",
    # starting up, shutting down, in recovery mode
    "the database system is": "It is not ready yet: run the same command again in a moment.",
    "does not exist": f"Check PGDATABASE and PGUSER (Pulumi: {settings('database', 'user')}).",
    "SSL": f"Set PGSSLMODE (Pulumi: {setting('sslmode')}) to a mode that the server supports.",
}
OWN_IS_DOWN = 'The server that make brings is down. Run: make up; eval "$(make env)"'
REMEDY = f"Check PGHOST and PGPORT (Pulumi: {settings('host', 'port')}), and that the server is running."


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


def _open(conninfo: str) -> Connection:
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings only repeat the errors that we report
    try:
        defaults: dict[str, Any] = {**_timeout(conninfo), **require_auth(conninfo)}
        settings = make_conninfo(conninfo, fallback_application_name=APPLICATION, client_encoding="UTF8", **defaults)
        return psycopg.connect(settings, autocommit=True, prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise InputError(
            f"the connection settings are not valid: {one_line(error)}", "Check the PG* variables."
        ) from error
    except psycopg.OperationalError as error:
        # psycopg reports a host from the environment as None, and of several attempts the last one and then all.
        message = one_line(error).replace("host None", f"host {libpq_default('host')!r}").rpartition(ALL_FAILURES)[2]
        is_down = "Connection refused" in message and is_own_server(conninfo)
        raise UnreachableError(message, OWN_IS_DOWN if is_down else _remedy(message)) from error


def _timeout(conninfo: str) -> dict[str, int]:
    """Return our connect_timeout unless the user set one: libpq would wait for minutes for a silent server."""
    is_set = "connect_timeout" in conninfo_to_dict(conninfo) or libpq_default("connect_timeout")
    return {} if is_set else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}


def _remedy(message: str) -> str:
    return next((remedy for part, remedy in REMEDIES.items() if part in message), REMEDY)


def _refuse_old(connection: Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST_SERVER:
        raise InputError(
            f"the server at {connection.info.host}:{connection.info.port} is PostgreSQL {major}",
            f"PostgreSQL {OLDEST_SERVER} or later is needed: upgrade the server, or connect to another one.",
        )
