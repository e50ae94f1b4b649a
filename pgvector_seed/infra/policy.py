"""What a careful team does not let through, told at preview already.

The address and the configuration are judged as they are. What only the server knows is asked where it can be
reached: a preview needs no database.
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
# Who can become the owner, or administers it, and could not become this login anyway.
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
    """Warn of each fault, or raise pulumi.RunError that names them all."""
    if policy == WARN:
        for fault in faults:
            pulumi.log.warn(fault)
    elif faults:
        told = "\n  ".join(faults)
        raise pulumi.RunError(f"the policy does not allow it:\n  {told}\nTo be warned only: {setting('policy', WARN)}")


def faults_of_address(address: Address, on_destroy: str) -> Iterator[str]:
    """TLS that does not prove who answers, and data that a destroy removes, on a server that others use."""
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
    """Roles that could do more than they should, or are not there, and a pgvector that is too old."""
    try:
        with connect(conninfo) as connection, translated("judging by the policy"):
            yield from [*_faults_of_roles(connection, roles), *_too_old(connection, minimum)]
    except UnreachableError as error:
        pulumi.log.info(f"the policy judged what is declared, and not the server: {error.message}")
    except Error as error:
        raise pulumi.RunError(str(error)) from error


def _faults_of_roles(connection: Connection, roles: Roles | None) -> Iterator[str]:
    if roles is None:
        return
    kinds = {role.name: kind for kind, role in roles.by_kind().items()}
    with catalog_snapshot(connection):
        found = connection.execute(_ROLES, (list(kinds),)).fetchall()
        members = connection.execute(_MEMBERS, (roles.owner.name,)).fetchall()
    for name, quoted, is_superuser in found:
        if is_superuser:
            yield (
                f"roles.{kinds[name]}: {name} is a superuser, to whom nothing is forbidden. "
                f"In psql: ALTER ROLE {quoted} NOSUPERUSER;"
            )
    for name, quoted, owner in members:
        yield (
            f"roles.owner: {name} can become {roles.owner.name}, and have code run with the rights of who deploys. "
            f"In psql: REVOKE {owner} FROM {quoted};"
        )
    for kind, role in roles.by_kind().items():
        if role.existing and role.name not in {name for name, _, _ in found}:
            yield f"roles.{kind}: there is no role {role.name} to use as it is. Create it, or let the stack make one"


def _too_old(connection: Connection, minimum: str) -> Iterator[str]:
    enabled, available = find_extension(connection), available_version(connection)
    version = enabled.version if enabled else available
    if version is None or not is_older(version, minimum):
        return
    newer = available is not None and not is_older(available, minimum)
    remedy = "In psql: ALTER EXTENSION vector UPDATE;" if newer else f"Upgrade it on the server to {minimum} or later"
    name = setting_name("minimumVersion")
    yield f"{name}: this is pgvector {version}, and {minimum} is the oldest that is allowed. {remedy}"
