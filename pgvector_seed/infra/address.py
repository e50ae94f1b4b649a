"""The server's address, resolved once by libpq's rules and given to both sides.

The other side is the PostgreSQL provider, which speaks TCP only and to one host, knows no sslmode ``prefer``
and prefers PGSERVICE to the host it is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import Error
from pgvector_seed.common.remedies import set_remedy, setting
from pgvector_seed.infra.tls import find_files, find_sslmode
from pgvector_seed.migrate.contract import DeclaredConnection
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import SslMode, resolve

# What a service file may say of the server, and the provider cannot be told.
LIBPQS_ALONE = ("hostaddr", "sslcrl", "sslcrldir")


@dataclass(frozen=True)
class Address:
    """Where the database is, who connects, and how. Nothing in it is left to the environment.

    ``host`` and ``port`` may be lists, separated by commas. ``files`` are those of TLS, by libpq's names.
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
        """What psycopg connects with."""
        return make_conninfo(
            "",
            host=self.host,
            hostaddr="",  # given, so that PGHOSTADDR and a service's do not count
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
        """Return what the contract says of the connection: no user and no secret."""
        return DeclaredConnection(host=self.host, port=self.port, dbname=self.dbname, sslmode=self.sslmode)

    def dialled(self, password: str) -> tuple[str, int]:
        """The one host and port for the provider: among several, those that libpq reaches now."""
        first = self.host.split(",")[0], int(str(self.port).split(",")[0])
        if "," not in self.host:
            return first
        try:
            with connect(self.conninfo(password)) as connection:
                return connection.info.host, connection.info.port
        except Error as error:
            host, port = first
            pulumi.log.warn(f"the PostgreSQL provider gets {host}:{port}, for no server could be reached: {error}")
            return first


# The way to use it after all.
_ON_PURPOSE = {"PGSERVICE": f". To have the stack use that service: {setting('service', 'NAME')}"}


def find(given: Mapping[str, str]) -> Address:
    """The address that ``given`` and libpq's environment lead to.

    Raises pulumi.RunError where the PostgreSQL provider could not follow.
    """
    _refuse_environment()
    try:
        found = resolve(given)
    except Error as error:
        raise pulumi.RunError(str(error)) from error
    for name in LIBPQS_ALONE:
        if "service" in given and name in found:
            raise pulumi.RunError(f"{name} cannot be told to the PostgreSQL provider: take it out of the service file")
    host = found.get("host", "")
    sslmode = find_sslmode(found, host)
    return Address(
        host=_tcp(host),
        port=_port(found.get("port", "5432")),
        dbname=found["dbname"],
        user=found["user"],
        sslmode=sslmode,
        files=find_files(found, sslmode),
        target_session_attrs=_target(found["target_session_attrs"]) if "," in host else None,
        require_auth=found.get("require_auth"),
        password=found.get("password", ""),
    )


def is_port(text: str) -> bool:
    """True for a TCP port's number."""
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535


def _refuse_environment() -> None:
    """What would lead the two sides to two servers; it may well be there by accident."""
    for name in ("PGSERVICE", "PGHOSTADDR"):
        value = os.environ.get(name)
        if value:
            raise pulumi.RunError(
                f"{name} is set, and the PostgreSQL provider and libpq would not follow it to the same server. "
                f"Run the same command without it: env -u {name} pulumi ...{_ON_PURPOSE.get(name, '')}"
            )


def _tcp(hosts: str) -> str:
    if any(not host or host.startswith(("/", "@")) for host in hosts.split(",")):
        raise pulumi.RunError(
            f"the PostgreSQL provider connects by TCP; got {hosts or 'no host'!r}. {set_remedy('host', '127.0.0.1')}"
        )
    return hosts


def _port(ports: str) -> int | str:
    """A number, or where there is one for each host, their list."""
    if not all(map(is_port, ports.split(","))):
        raise pulumi.RunError(f"the port must be a number from 1 to 65535; got {ports!r}. {set_remedy('port', '5432')}")
    return int(ports) if ports.isdecimal() else ports


def _target(said: str) -> str:
    """Among several servers the first that answers may be a standby, which takes no writes."""
    return "read-write" if said == "any" else said
