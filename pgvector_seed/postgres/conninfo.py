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
    """Return libpq's value for a parameter that a conninfo leaves out, from the environment, or None."""
    values = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
    value = values.get(keyword)
    return value.decode() if value else None


def conninfo_of_unset(parameters: Mapping[str, Any]) -> str:
    """Return a conninfo of those ``parameters`` that neither the environment nor a service file sets."""
    environment = {
        option.keyword.decode()
        for option in pq.Conninfo.get_defaults()
        if option.val != option.compiled or (option.envvar or b"").decode() in os.environ
    }
    return make_conninfo("", **{name: str(value) for name, value in parameters.items() if name not in environment})


def connect_timeout(conninfo: str, seconds: float) -> int:
    """Return the connect_timeout, in seconds for each host, with which all hosts together take at most ``seconds``.

    A shorter PGCONNECT_TIMEOUT is kept. The minimum is 2, to which libpq raises 1.

    Raises InputError if PGCONNECT_TIMEOUT is not a number.
    """
    hosts = str(conninfo_to_dict(conninfo).get("host") or libpq_default("host") or "").count(",") + 1
    limit = timeout_limit(conninfo) or CONNECT_TIMEOUT_SECONDS
    return max(2, int(min(seconds, limit) / hosts))


def timeout_limit(conninfo: str) -> int | None:
    """Return the connect_timeout that the user set, in seconds, or None.

    Raises InputError if it is not a number, as libpq does when it waits itself.
    """
    timeout = conninfo_to_dict(conninfo).get("connect_timeout") or libpq_default("connect_timeout")
    try:
        return int(timeout) if timeout else None
    except ValueError as error:
        raise InputError(
            f"PGCONNECT_TIMEOUT is not a number of seconds: {timeout}", "Set it to one, or unset it."
        ) from error


def as_role(conninfo: str, role: str | None) -> str:
    """Return the conninfo of a session that acts as ``role``, or as the login if that is None.

    The role is in the options (``-c role=``), so the session starts with it and RESET ROLE keeps it.
    """
    if role is None:
        return conninfo
    options = conninfo_to_dict(conninfo).get("options") or libpq_default("options") or ""
    return make_conninfo(conninfo, options=f"{options} -c role={escaped_role(role)}".strip())


def escaped_role(role: str) -> str:
    """Return the name of a role with the escapes that the server's options need."""
    return re.sub(r"([\\\s])", r"\\\1", role)


def as_login(conninfo: str) -> str:
    """Return the conninfo without the role that ``as_role`` added."""
    options = conninfo_to_dict(conninfo).get("options") or ""
    without = re.sub(r"(^|\s)-c role=(\\.|[^\\\s])*$", "", str(options))
    return conninfo if without == options else make_conninfo(conninfo, options=without)


def resolve(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return every connection parameter that libpq would use for ``parameters``, including the password.

    libpq itself reads the environment, the service file and the password file, but dials no server: it stops at an
    invalid load_balance_hosts, the last parameter that it validates.

    Raises InputError with libpq's message if another parameter is not valid.
    """
    try:
        conninfo = make_conninfo("", **{**parameters, "load_balance_hosts": UNBALANCED})
        attempt = pq.PGconn.connect_start(conninfo.encode())
    except psycopg.Error as error:
        raise InputError(f"the connection settings are not valid: {one_line(error)}") from error
    try:
        message = attempt.error_message.decode(errors="replace")
        if f'"{UNBALANCED}"' not in message:
            raise InputError(
                f"the connection settings are not valid: {' '.join(message.split())}", "Check the PG* variables."
            )
        resolved = {option.keyword.decode(): option.val.decode() for option in attempt.info if option.val}
        if attempt.password:
            resolved["password"] = attempt.password.decode()
    finally:
        attempt.finish()
    del resolved["load_balance_hosts"]
    return resolved


def is_loopback(host: str) -> bool:
    """Return True if ``host`` is localhost or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
