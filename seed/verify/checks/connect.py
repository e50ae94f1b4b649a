"""connect: the server is of a supported version, and the roles of the contract can log in."""

from __future__ import annotations

from typing import Any

from pgvector_seed.postgres.connection import OLDEST_SERVER

from ..context import Look
from ..model import AS_READER, Check, Fault, Outcome, failed, failed_by, passed

_ROLES = """
SELECT rolname, rolcanlogin, rolvaliduntil < now(),
       NOT rolsuper AND 0 IN (rolconnlimit, (SELECT datconnlimit FROM pg_database
                                             WHERE datname = current_database())),
       has_database_privilege(oid, current_database(), 'CONNECT'),
       quote_ident(rolname), quote_ident(current_database())
FROM pg_roles WHERE rolname = ANY (%s)
"""


def judge(look: Look) -> Outcome:
    """Judge the version, then each role."""
    major = look.connection.info.server_version // 10000
    expected = f"PostgreSQL {OLDEST_SERVER} or later"
    if major < OLDEST_SERVER:
        return failed(expected, f"PostgreSQL {major}", "Upgrade the server, or connect to another one.")
    roles = look.contract.roles
    names = sorted({name for name in (roles.writer, roles.reader) if name})
    if names:
        expected += f", and {' and '.join(names)} can log in"
    found = {row[0]: row for row in look.connection.execute(_ROLES, (names,))}
    faults = [fault for name in names for fault in [_fault(name, found.get(name))] if fault]
    if not faults:
        return passed(f"PostgreSQL {major}", expected)
    # Without its reader nobody can say what it would see.
    return failed_by(expected, faults, blocks=AS_READER if roles.reader not in (None, *found) else frozenset())


def _fault(name: str, row: tuple[Any, ...] | None) -> Fault | None:
    if row is None:
        return Fault(f"there is no role {name}", f"Create the role {name}, or correct the contract's roles.")
    _, may_log_in, expired, no_connections, may_connect, role, database = row
    if not may_log_in:
        return Fault(f"{name} may not log in", f"ALTER ROLE {role} LOGIN;")
    if expired:
        return Fault(f"the password of {name} has expired", f"ALTER ROLE {role} PASSWORD '...' VALID UNTIL 'infinity';")
    if no_connections:
        limit = "CONNECTION LIMIT -1;"
        return Fault(
            f"{name} is limited to no connections", f"ALTER ROLE {role} {limit}\nALTER DATABASE {database} {limit}"
        )
    if not may_connect:
        return Fault(f"{name} may not connect to this database", f"GRANT CONNECT ON DATABASE {database} TO {role};")
    return None


CHECK = Check(
    "connect",
    "the server is older than PostgreSQL 16, or a declared role cannot log in",
    judge,
    of_a_table=False,
)
