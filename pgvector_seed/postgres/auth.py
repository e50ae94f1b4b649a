"""What a server must prove before it is told the password."""

from __future__ import annotations

import ipaddress
import os
import socket
from itertools import zip_longest

from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS, resolve

OWN_SERVER = "PGVECTOR_SEED_SERVER"  # host:port of the server that make brings
SCRAM, NOT_IN_CLEAR = "scram-sha-256", "!password"


def require_auth(conninfo: str) -> dict[str, str]:
    """Return the require_auth that keeps the password from an unproved server on this machine.

    While a server is down any program may take its port, and without TLS nobody proves who answers. A server that
    lets everybody in needs no password, and passes; make's own must prove that it knows the password.
    """
    try:
        known = resolve(conninfo_to_dict(conninfo))
    except InputError:
        return {}  # connecting ends by the same rules, and tells which
    hosts = _dialled(known.get("host", ""), known.get("hostaddr", ""))
    if os.environ.get(OWN_SERVER) == f"{','.join(hosts)}:{known['port']}":
        return {"require_auth": SCRAM}
    may_be_plain = known.get("sslmode") not in ASKING_FOR_TLS and "require_auth" not in known
    return {"require_auth": NOT_IN_CLEAR} if may_be_plain and any(map(_leads_here, hosts)) else {}


def _dialled(hosts: str, addresses: str) -> list[str]:
    """Return what libpq dials: of each server its address, or else its host."""
    pairs = zip_longest(hosts.split(","), addresses.split(","), fillvalue="")
    return [address or host for host, address in pairs]


def _leads_here(host: str) -> bool:
    """Return True if a name or an address, in any spelling, leads to this machine's loopback."""
    if not host or host.startswith(("/", "@")):
        return False  # a socket, whose folder's owner says who answers
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # connecting fails as well, and tells why
    addresses = [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    plain = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return any(address.is_loopback or address.is_unspecified for address in plain)
