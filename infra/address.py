"""The server's address, resolved once by libpq's rules and given to both sides.

The other side is the PostgreSQL provider, which speaks TCP only, knows no sslmode ``prefer`` and
prefers PGSERVICE to the host it is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from psycopg.conninfo import make_conninfo

from postgres.connection import is_loopback, resolve
from postgres.errors import Error

SSLMODES = ("disable", "require", "verify-ca", "verify-full")  # what both libpq and the provider know


@dataclass(frozen=True)
class Address:
    """Where the database is, who connects, and how. Nothing in it is left to the environment."""

    host: str
    port: int
    dbname: str
    user: str
    sslmode: str
    password: str = field(repr=False)

    def conninfo(self, password: str) -> str:
        """What psycopg connects with."""
        return make_conninfo(
            "",
            host=self.host,
            port=self.port,
            dbname=self.dbname,
            user=self.user,
            sslmode=self.sslmode,
            password=password or None,
        )

    def declared(self) -> dict[str, Any]:
        """What the contract says of the connection: no user and no secret."""
        return {"host": self.host, "port": self.port, "dbname": self.dbname, "sslmode": self.sslmode}


def find(given: Mapping[str, str]) -> Address:
    """The address that ``given`` and libpq's environment lead to.

    Raises pulumi.RunError where the PostgreSQL provider could not follow.
    """
    for name in ("PGSERVICE", "PGHOSTADDR"):
        if os.environ.get(name):
            raise pulumi.RunError(
                f"{name} is set, and the PostgreSQL provider and libpq would not follow it to the same server. "
                f"Run it without: env -u {name} pulumi up"
            )
    try:
        found = resolve(given)
    except Error as error:
        raise pulumi.RunError(str(error)) from error
    host = found.get("host", "")
    if not host or host.startswith(("/", "@")) or "," in host:
        raise pulumi.RunError(
            f"the PostgreSQL provider connects by TCP to one host; got {host or 'no host'!r}. "
            "Run: pulumi config set host 127.0.0.1"
        )
    return Address(
        host=host,
        port=int(found.get("port", "5432")),
        dbname=found["dbname"],
        user=found["user"],
        sslmode=_sslmode(found["sslmode"], host),
        password=found.get("password", ""),
    )


def _sslmode(found: str, host: str) -> str:
    """``prefer``, which libpq does by default, accepts a plain connection in silence: only loopback may."""
    if found == "prefer":
        return "disable" if is_loopback(host) else "require"
    if found not in SSLMODES:
        raise pulumi.RunError(
            f"sslmode must be one of {', '.join(SSLMODES)}; got {found!r}. Run: pulumi config set sslmode verify-full"
        )
    return found
