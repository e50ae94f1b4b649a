"""The server's address, resolved once by libpq's rules for psycopg and for the PostgreSQL provider.

The provider connects by TCP only, to one host, does not know sslmode ``prefer``, and prefers PGSERVICE to its host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import Error
from pgvector_seed.common.remedies import set_remedy, setting
from pgvector_seed.infra.tls import resolve_sslmode, tls_files
from pgvector_seed.migrate.contract import DeclaredConnection
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import SslMode, resolve

LED_ASTRAY_BY = ("PGSERVICE", "PGHOSTADDR")  # the variables that the provider's driver prefers to its arguments
# Parameters that a service file may have, and for which the provider has no argument.
LIBPQ_ONLY = ("hostaddr", "sslcrl", "sslcrldir")


@dataclass(frozen=True)
class Address:
    """The server, the database, the login and the other parameters of a connection, independent of the environment.

    ``host`` and ``port`` may be lists, separated by commas. ``files`` maps libpq's names of TLS files to paths.
    """

    host: str
    port: int | str
    dbname: str
    user: str
    sslmode: SslMode
    files: Mapping[str, str]
    target_session_attrs: str | None
    require_auth: str | None
    password: str = field(repr=False)

    def conninfo(self, password: str) -> str:
        """Return the conninfo for psycopg, with ``password`` unless it is empty."""
        return make_conninfo(
            "",
            host=self.host,
            hostaddr="",  # overrides PGHOSTADDR and the service file's hostaddr
            port=self.port,
            dbname=self.dbname,
            user=self.user,
            sslmode=self.sslmode,
            **self.files,
            target_session_attrs=self.target_session_attrs,
            require_auth=self.require_auth,
            password=password or None,
        )

    def declared(self) -> DeclaredConnection:
        """Return the contract's connection, which has no user and no secret."""
        return DeclaredConnection(host=self.host, port=self.port, dbname=self.dbname, sslmode=self.sslmode)

    def dialed(self, password: str) -> tuple[str, int]:
        """Return the one host and port for the provider: of a list, those that libpq reaches now, or else the first."""
        first = self.host.split(",")[0], int(str(self.port).split(",")[0])
        if "," not in self.host:
            return first
        try:
            with connect(self.conninfo(password)) as connection:
                return connection.info.host, connection.info.port
        except Error as error:
            host, port = first
            pulumi.log.warn(f"the PostgreSQL provider gets {host}:{port}, because no server could be reached: {error}")
            return first


_TO_USE = {"PGSERVICE": f". To have the stack use that service: {setting('service', 'NAME')}"}


def resolve_address(parameters: Mapping[str, str]) -> Address:
    """Return the address by libpq's ``parameters`` and, for the rest, libpq's environment.

    Raises pulumi.RunError if libpq refuses them, or the PostgreSQL provider could not connect to the same server.
    """
    _refuse_environment()
    try:
        resolved = resolve(parameters)
    except Error as error:
        raise pulumi.RunError(str(error)) from error
    for name in LIBPQ_ONLY:
        if "service" in parameters and name in resolved:
            raise pulumi.RunError(f"the PostgreSQL provider does not support {name}: remove it from the service file")
    host = resolved.get("host", "")
    sslmode = resolve_sslmode(resolved, host)
    return Address(
        host=_tcp(host),
        port=_port(resolved.get("port", "5432")),
        dbname=resolved["dbname"],
        user=resolved["user"],
        sslmode=sslmode,
        files=tls_files(resolved, sslmode),
        target_session_attrs=_target(resolved["target_session_attrs"]) if "," in host else None,
        require_auth=resolved.get("require_auth"),
        password=resolved.get("password", ""),
    )


def is_port(text: str) -> bool:
    """Return True for the number of a TCP port."""
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535


def _refuse_environment() -> None:
    """Raise pulumi.RunError for a variable with which psycopg and the provider would connect to different servers."""
    for name in LED_ASTRAY_BY:
        value = os.environ.get(name)
        if value:
            raise pulumi.RunError(
                f"{name} is set, with which the PostgreSQL provider and libpq would connect to different servers. "
                f"Run the same command without it: env -u {name} pulumi ...{_TO_USE.get(name, '')}"
            )


def _tcp(hosts: str) -> str:
    if any(not host or host.startswith(("/", "@")) for host in hosts.split(",")):
        raise pulumi.RunError(
            f"the PostgreSQL provider connects by TCP; got {hosts or 'no host'!r}. {set_remedy('host', '127.0.0.1')}"
        )
    return hosts


def _port(ports: str) -> int | str:
    """Return a port as a number, or a list of ports, one for each host, as it is."""
    if not all(map(is_port, ports.split(","))):
        raise pulumi.RunError(f"the port must be a number from 1 to 65535; got {ports!r}. {set_remedy('port', '5432')}")
    return int(ports) if ports.isdecimal() else ports


def _target(target: str) -> str:
    """Replace libpq's default: of several servers, the first to answer may be a standby, which takes no writes."""
    return "read-write" if target == "any" else target
