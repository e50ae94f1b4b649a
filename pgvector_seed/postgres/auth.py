"""The authentication that a server must offer before it gets the password."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from itertools import zip_longest

from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS, resolve

OWN_SERVER = "PGVECTOR_SEED_SERVER"  # host:port of the server that make brings
SCRAM, NOT_IN_CLEAR = "scram-sha-256", "!password"


def require_auth(conninfo: str) -> dict[str, str]:
    """Return the require_auth that keeps the password from an impostor on this machine, as a connection parameter.

    While a server is down, any local program may take its port, and without TLS it need not prove its identity. So to
    this machine no password is sent in clear without TLS; a server that asks for none is accepted. The server that make
    brings must prove by SCRAM that it knows the password.
    """
    try:
        parameters = resolve(conninfo_to_dict(conninfo))
    except InputError:
        return {}  # connecting raises the same error
    if _is_own(parameters):
        return {"require_auth": SCRAM}
    if parameters.get("sslmode") in ASKING_FOR_TLS or "require_auth" in parameters:
        return {}
    return {"require_auth": NOT_IN_CLEAR} if any(map(_resolves_to_loopback, _dialed_hosts(parameters))) else {}


def is_own_server(conninfo: str) -> bool:
    """Return True if the conninfo and the environment lead to the server that make brings."""
    return _is_own(resolve(conninfo_to_dict(conninfo)))


def _is_own(parameters: Mapping[str, str]) -> bool:
    return os.environ.get(OWN_SERVER) == f"{','.join(_dialed_hosts(parameters))}:{parameters.get('port', '')}"


def _dialed_hosts(parameters: Mapping[str, str]) -> list[str]:
    """Return the hosts that libpq dials: for each server its address, or else its host."""
    hosts, addresses = (parameters.get(name, "").split(",") for name in ("host", "hostaddr"))
    pairs = zip_longest(hosts, addresses, fillvalue="")
    return [address or host for host, address in pairs]


def _resolves_to_loopback(host: str) -> bool:
    """Return True if a name or an address, in any spelling, resolves to this machine's loopback."""
    if not host or host.startswith(("/", "@")):
        return False  # a Unix socket: only the owner of its folder can put one there
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # connecting raises the same error
    addresses = [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    unmapped = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return any(address.is_loopback or address.is_unspecified for address in unmapped)
