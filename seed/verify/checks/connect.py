"""The check connect: the server has a supported version, and the declared roles can log in."""

from __future__ import annotations

from typing import Any

from pgvector_seed.postgres.connection import OLDEST_SERVER

from ..context import Context
from ..model import READER_CHECKS, Check, Fault, Outcome, failed, failed_with, passed
from ..replica import position_note

_ROLES = """
SELECT rolname, rolcanlogin, rolvaliduntil < now(),
       NOT rolsuper AND 0 IN (rolconnlimit, (SELECT datconnlimit FROM pg_database
                                             WHERE datname = current_database())),
       has_database_privilege(oid, current_database(), 'CONNECT'),
       quote_ident(rolname), quote_ident(current_database())
FROM pg_roles WHERE rolname = ANY (%s)
"""


def run(context: Context) -> Outcome:
    """Compare the server's version with the oldest supported one, then check the login of each role."""
    major = context.connection.info.server_version // 10000
    expected = f"PostgreSQL {OLDEST_SERVER} or later"
    if major < OLDEST_SERVER:
        return failed(expected, f"PostgreSQL {major}", "Upgrade the server, or connect to another.")
    roles = context.contract.roles
    names = sorted({name for name in (roles.writer, roles.reader) if name})
    if names:
        expected += f", and {' and '.join(names)} can log in"
    rows = {row[0]: row for row in context.connection.execute(_ROLES, (names,))}
    faults = [fault for name in names for fault in [_fault(name, rows.get(name))] if fault]
    if not faults:
        return passed("; ".join(filter(None, (f"PostgreSQL {major}", position_note(context.connection)))), expected)
    # Other checks need no login of these roles, but the reader's query needs its role.
    return failed_with(expected, faults, blocks=READER_CHECKS if roles.reader not in (None, *rows) else frozenset())


def _fault(name: str, row: tuple[Any, ...] | None) -> Fault | None:
    if row is None:
        return Fault(f"the role {name} does not exist", f"Create the role {name}, or fix the contract's roles.")
    _, has_login, expired, limit_is_0, may_connect, role, database = row
    if not has_login:
        return Fault(f"{name} cannot log in (NOLOGIN)", f"ALTER ROLE {role} LOGIN;")
    if expired:
        return Fault(f"the password of {name} has expired", f"ALTER ROLE {role} PASSWORD '...' VALID UNTIL 'infinity';")
    if limit_is_0:
        limit = "CONNECTION LIMIT -1;"
        return Fault(
            f"the connection limit of {name} or of the database is 0",
            f"ALTER ROLE {role} {limit}\nALTER DATABASE {database} {limit}",
        )
    if not may_connect:
        return Fault(f"{name} lacks CONNECT on this database", f"GRANT CONNECT ON DATABASE {database} TO {role};")
    return None


CHECK = Check(
    "connect",
    "the server is older than PostgreSQL 16, or a declared role cannot log in",
    run,
    per_table=False,
)
