"""The policy: unsafe settings are refused, or warned of, at preview already.

The checks of the server's roles and its pgvector are skipped if it cannot be reached: a preview needs no database.
"""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.common.remedies import set_remedy, setting, setting_name
from pgvector_seed.infra.address import Address
from pgvector_seed.infra.roles import Roles
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import is_loopback
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.extension import available_version, find_extension, is_older

ENFORCE, WARN = "enforce", "warn"

_ROLES = """
SELECT rolname, quote_ident(rolname), rolsuper FROM pg_roles WHERE rolname = ANY (%s)
"""
# Roles that can become or administer the owner, but cannot become this login.
_MEMBERS = """
SELECT m.rolname, quote_ident(m.rolname), quote_ident(o.rolname)
FROM pg_roles o
JOIN pg_roles me ON me.rolname = session_user
JOIN pg_roles m ON pg_has_role(m.oid, o.oid, 'MEMBER')
WHERE o.rolname = %s AND m.oid NOT IN (o.oid, me.oid) AND NOT m.rolsuper
  AND NOT pg_has_role(m.oid, me.oid, 'MEMBER')
ORDER BY 1
"""


def enforce(policy: str, faults: list[str]) -> None:
    """Warn of each fault, or raise pulumi.RunError that names all of them."""
    if policy == WARN:
        for fault in faults:
            pulumi.log.warn(fault)
    elif faults:
        lines = "\n  ".join(faults)
        raise pulumi.RunError(f"refused by the policy:\n  {lines}\nTo be warned only: {setting('policy', WARN)}")


def faults_of_address(address: Address, on_destroy: str) -> Iterator[str]:
    """Yield a fault for TLS without verification, and for tables that a destroy drops, unless the server is local."""
    if all(map(is_loopback, address.host.split(","))):
        return
    if address.sslmode != "verify-full":
        yield (
            f"sslmode: {address.sslmode} does not prove that {address.host} is the server. "
            f"{set_remedy('sslmode', 'verify-full')}"
        )
    if on_destroy == "revert":
        yield (
            f"{setting_name('onDestroy')}: revert lets pulumi destroy drop the tables on {address.host}. "
            f"{set_remedy('onDestroy', 'retain')}"
        )


def faults_of_server(conninfo: str, roles: Roles | None, minimum: str) -> Iterator[str]:
    """Yield a fault for each excessive or missing role, and for a pgvector older than ``minimum``.

    Yields nothing if the server cannot be reached. Raises pulumi.RunError for another error of the connection.
    """
    try:
        with connect(conninfo) as connection, translated("checking the policy"):
            yield from [*_faults_of_roles(connection, roles), *_faults_of_version(connection, minimum)]
    except UnreachableError as error:
        pulumi.log.info(f"the policy was checked without the server: {error.message}")
    except Error as error:
        raise pulumi.RunError(str(error)) from error


def _faults_of_roles(connection: Connection, roles: Roles | None) -> Iterator[str]:
    if roles is None:
        return
    kinds = {role.name: kind for kind, role in roles.by_kind().items()}
    with catalog_snapshot(connection):
        existing = connection.execute(_ROLES, (list(kinds),)).fetchall()
        members = connection.execute(_MEMBERS, (roles.owner.name,)).fetchall()
    for name, quoted, is_superuser in existing:
        if is_superuser:
            yield (
                f"roles.{kinds[name]}: {name} is a superuser, for whom no privilege is checked. "
                f"In psql: ALTER ROLE {quoted} NOSUPERUSER;"
            )
    for name, quoted, owner in members:
        yield (
            f"roles.owner: {name} can become {roles.owner.name}, and run code with the rights of the deploying login. "
            f"In psql: REVOKE {owner} FROM {quoted};"
        )
    for kind, role in roles.by_kind().items():
        if role.existing and role.name not in {name for name, _, _ in existing}:
            yield f"roles.{kind}: the role {role.name} does not exist. Create it, or let the stack create one"


def _faults_of_version(connection: Connection, minimum: str) -> Iterator[str]:
    enabled, available = find_extension(connection), available_version(connection)
    version = enabled.version if enabled else available
    if version is None or not is_older(version, minimum):
        return
    if available is not None and not is_older(available, minimum):
        remedy = f"The server has {available}, which a superuser can enable. In psql: ALTER EXTENSION vector UPDATE;"
    else:
        remedy = f"Upgrade it on the server to {minimum} or later"
        remedy += ", then as a superuser: ALTER EXTENSION vector UPDATE;" if enabled else ""
    name = setting_name("minimumVersion")
    yield f"{name}: pgvector is {version}, older than {minimum}. {remedy}"
