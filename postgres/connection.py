"""Connecting by libpq's own rules: PG* variables, service files, password files."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from postgres.errors import InputError, UnreachableError, one_line
from postgres.interrupt import stoppable

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

APPLICATION = "pgvector-seed"
OWN_SERVER = "PGVECTOR_SEED_SERVER"  # host:port of the server that make brings
OLDEST_SERVER = 16
CONNECT_TIMEOUT_SECONDS = 10
SEVERAL = "Multiple connection attempts failed. All failures were: "
UNBALANCED = "neither-way"
ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"

SCRAM, NOT_IN_CLEAR = "scram-sha-256", "!password"
MAYBE_PLAIN = ("disable", "allow", "prefer")

_ROOT = "Set PGSSLROOTCERT (Pulumi: pulumi config set sslrootcert) to"
_LOGIN = "Set PGPASSWORD or PGPASSFILE (Pulumi: pulumi config set --secret password) to this user's password"
_CERTIFICATE = (
    "Set PGSSLCERT and PGSSLKEY (Pulumi: the keys sslcert and sslkey) to a certificate that the server accepts."
)
# By libpq's and the server's words, the first that fits.
REMEDIES = {
    "password authentication failed": f"{_LOGIN}, which may also have expired: ALTER ROLE ... VALID UNTIL.",
    "no password supplied": f"{_LOGIN}.",
    '"!password" failed': (
        "Another program may have taken the server's port, and would be told the password. If the server is right: "
        "PGREQUIREAUTH=password before the same command (Pulumi: require_auth=password in a service file)."
    ),
    '"scram-sha-256" failed': (
        "PGREQUIREAUTH asks for a server that knows the password, and this one does not show that it does. If it "
        'should be the server that make brings, that is down or has another port. Run: make up; eval "$(make env)"'
    ),
    "certificate verify failed": (
        f"{_ROOT} the certificate of the authority that vouches for the server. If it is that one, the server's own "
        "has expired. For PGSSLROOTCERT=system, SSL_CERT_FILE says where the system keeps its authorities."
    ),
    "does not match host name": (
        "Set PGHOST (Pulumi: pulumi config set host) to a name that the certificate has; PGHOSTADDR may then have "
        "the address."
    ),
    "root certificate file": f"{_ROOT} the file of the authority's certificate.",
    "could not read root certificate": f"{_ROOT} the file of the authority's certificate.",
    "private key file": "Only its owner may read a key: chmod 600 FILE.",
    "valid client certificate": _CERTIFICATE,
    "certificate required": _CERTIFICATE,
    "definition of service": "Check PGSERVICE and PGSERVICEFILE.",
    "too many": "Wait until other sessions have ended, or raise the limit.",
    # starting up, shutting down, in recovery mode
    "the database system is": "It is there, and not ready: run the same command again in a moment.",
    "does not exist": "Check PGDATABASE and PGUSER (Pulumi: the keys database and user).",
    "SSL": "Set PGSSLMODE (Pulumi: pulumi config set sslmode) to what the server offers.",
}
REMEDY = "Check PGHOST and PGPORT (Pulumi: the keys host and port), and that the server runs."


@contextmanager
def connect(conninfo: str = "", *, any_version: bool = False) -> Iterator[Connection]:
    """A connection in autocommit mode to a server of a supported version, closed at the end.

    Whatever ``conninfo`` leaves out, libpq takes from the environment. ``any_version`` lets an old server pass.

    Raises UnreachableError when there is no connection or no login, InputError on a server that is too old.
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
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what follows from an error that we report
    try:
        ours: dict[str, Any] = {**_timeout(conninfo), **_require_auth(conninfo)}
        settings = make_conninfo(conninfo, fallback_application_name=APPLICATION, client_encoding="UTF8", **ours)
        return psycopg.connect(settings, autocommit=True, prepare_threshold=None)
    except psycopg.ProgrammingError as error:
        raise InputError(
            f"the connection settings are not valid: {one_line(error)}", "Check the PG* variables."
        ) from error
    except psycopg.OperationalError as error:
        # psycopg resolves names itself, and does not say which when the environment has it. Of several
        # attempts it tells the last one, and then all.
        words = one_line(error).replace("host None", f"host {_default('host')!r}").rpartition(SEVERAL)[2]
        raise UnreachableError(words, _remedy(words)) from error


def _require_auth(conninfo: str) -> dict[str, str]:
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
    may_be_plain = known.get("sslmode") in MAYBE_PLAIN and "require_auth" not in known
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


def _timeout(conninfo: str) -> dict[str, int]:
    """Our own limit, unless libpq finds one: a server that never answers must not hold us for minutes."""
    said = "connect_timeout" in conninfo_to_dict(conninfo) or _default("connect_timeout")
    return {} if said else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}


def _default(keyword: str) -> str | None:
    """What libpq takes from the environment for a parameter that is not given."""
    values = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
    value = values.get(keyword)
    return value.decode() if value else None


def _remedy(words: str) -> str:
    return next((remedy for said, remedy in REMEDIES.items() if said in words), REMEDY)


def _refuse_old(connection: Connection) -> None:
    major = connection.info.server_version // 10000
    if major < OLDEST_SERVER:
        raise InputError(
            f"the server at {connection.info.host}:{connection.info.port} is PostgreSQL {major}",
            f"PostgreSQL {OLDEST_SERVER} or later is needed: upgrade the server, or name another one.",
        )


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
    addresses = str(conninfo_to_dict(conninfo).get("host") or _default("host") or "").count(",") + 1
    said = int(_default("connect_timeout") or 0) or CONNECT_TIMEOUT_SECONDS
    return max(2, int(min(seconds, said) / addresses))


def as_role(conninfo: str, role: str) -> str:
    """The same connection, in which the login takes on a role from the start: RESET ROLE leads back to it."""
    options = conninfo_to_dict(conninfo).get("options") or _default("options") or ""
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


def set_search_path(connection: Connection, *schemas: str) -> None:
    """Until the transaction ends, unqualified names are looked up in these schemas."""
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(names))


@contextmanager
def nothing_on_path(connection: Connection) -> Iterator[None]:
    """Inside, names and operators are looked up in pg_catalog alone, and afterwards as before.

    With another schema on the search_path, whoever may create in it can give a query of the catalogue an
    operator that fits better than PostgreSQL's own, and run as whoever asks. The transaction, or a part of the
    one around it, is rolled back: it is for reading.
    All that is asked in it is of one moment, so that what was judged is what is then read.
    """
    outermost = connection.info.transaction_status == pq.TransactionStatus.IDLE
    with connection.transaction(force_rollback=True):
        if outermost:
            connection.execute(ONE_SNAPSHOT)
        connection.execute("SELECT pg_catalog.set_config('search_path', '', true)")
        yield


def is_loopback(host: str) -> bool:
    """True for localhost and for the addresses that never leave this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
