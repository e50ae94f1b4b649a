"""libpq's rules for connection parameters, without connecting."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.errors import one_line

CONNECT_TIMEOUT_SECONDS = 10
UNBALANCED = "neither-way"

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SSL_MODES: tuple[SslMode, ...] = get_args(SslMode)  # from the weakest to the strongest
ASKING_FOR_TLS = SSL_MODES[SSL_MODES.index("require") :]


def libpq_default(keyword: str) -> str | None:
    """What libpq takes from the environment for a parameter that is not given."""
    values = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
    value = values.get(keyword)
    return value.decode() if value else None


def unless_said(given: Mapping[str, Any]) -> str:
    """A conninfo of those parameters for which libpq finds nothing in the environment or a service file."""
    said = {
        option.keyword.decode()
        for option in pq.Conninfo.get_defaults()
        if option.val != option.compiled or (option.envvar or b"").decode() in os.environ
    }
    return make_conninfo("", **{name: str(value) for name, value in given.items() if name not in said})


def connect_timeout(conninfo: str, seconds: float) -> int:
    """How long libpq may take for one address, so that all together take no longer than ``seconds``.

    The environment's own limit holds where it is shorter. libpq takes whole seconds, and one for two.
    """
    addresses = str(conninfo_to_dict(conninfo).get("host") or libpq_default("host") or "").count(",") + 1
    said = int(libpq_default("connect_timeout") or 0) or CONNECT_TIMEOUT_SECONDS
    return max(2, int(min(seconds, said) / addresses))


def as_role(conninfo: str, role: str) -> str:
    """The same connection, in which the login takes on a role from the start: RESET ROLE leads back to it."""
    options = conninfo_to_dict(conninfo).get("options") or libpq_default("options") or ""
    return make_conninfo(conninfo, options=f"{options} -c role={escaped_role(role)}".strip())


def escaped_role(role: str) -> str:
    """The name as the server's options have it."""
    return re.sub(r"([\\\s])", r"\\\1", role)


def as_login(conninfo: str) -> str:
    """The same connection without the role that ``as_role`` had it take on."""
    options = conninfo_to_dict(conninfo).get("options") or ""
    without = re.sub(r"(^|\s)-c role=(\\.|[^\\\s])*$", "", str(options))
    return conninfo if without == options else make_conninfo(conninfo, options=without)


def resolve(given: Mapping[str, Any]) -> dict[str, str]:
    """Every connection parameter that libpq would use, ``given`` ones first, the password file read.

    Nothing is dialled: the last of the parameters that libpq judges is given a value that it cannot know, so
    it stops after it has gone through its own rules for the environment, the service file and the password file.

    Raises InputError, with libpq's own words, when those rules end before that.
    """
    try:
        attempt = pq.PGconn.connect_start(make_conninfo("", **{**given, "load_balance_hosts": UNBALANCED}).encode())
    except psycopg.Error as error:
        raise InputError(f"the connection settings are not valid: {one_line(error)}") from error
    try:
        words = attempt.error_message.decode(errors="replace")
        if f'"{UNBALANCED}"' not in words:
            raise InputError(
                f"the connection settings are not valid: {' '.join(words.split())}", "Check the PG* variables."
            )
        found = {option.keyword.decode(): option.val.decode() for option in attempt.info if option.val}
        if attempt.password:
            found["password"] = attempt.password.decode()
    finally:
        attempt.finish()
    del found["load_balance_hosts"]
    return found


def is_loopback(host: str) -> bool:
    """True for localhost and for the addresses that never leave this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
