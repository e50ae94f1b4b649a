"""The rights that a role has beyond the allowed ones: by grant, ownership, membership or attribute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.postgres.connection import Connection

from ..model import Fault

# The role itself first, then the roles that it inherits from, can SET ROLE to, or can grant itself.
_MEMBERSHIPS = """
SELECT oid, rolname, rolsuper,
       array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
         CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
         CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)
FROM pg_roles
WHERE rolname = %(role)s
   OR (pg_has_role(%(role)s::name, oid, 'USAGE, SET, MEMBER WITH ADMIN OPTION')
       AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = %(role)s))
ORDER BY rolname <> %(role)s, rolname
"""
# The table with its partitions and its sequences, the schemas that its queries name, and the database.
_OBJECTS = """
SELECT 'TABLE' AS kind, format('%%I.%%I', n.nspname, c.relname) AS name, c.relowner AS owner, a.*
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT NULL::name AS attribute, c.relacl AS acl
                    UNION ALL SELECT attname, attacl FROM pg_attribute
                              WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL) AS a
WHERE c.oid = %(table)s OR c.oid IN (SELECT relid FROM pg_partition_tree(%(table)s))
UNION ALL
SELECT 'SEQUENCE', format('%%I.%%I', n.nspname, s.relname), s.relowner, NULL, s.relacl
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %(table)s AND d.refobjsubid > 0
UNION ALL
SELECT 'SCHEMA', quote_ident(nspname), nspowner, NULL, nspacl
FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
UNION ALL
SELECT 'DATABASE', quote_ident(datname), datdba, NULL, datacl
FROM pg_database WHERE datname = current_database()
"""
# Grantee 0 is PUBLIC. A sequence of a table has the table's owner.
_GRANTED = f"""
SELECT o.kind, o.name, o.attribute, e.grantee, e.privilege_type, e.is_grantable
FROM ({_OBJECTS}) AS o CROSS JOIN LATERAL aclexplode(o.acl) AS e
WHERE e.grantee <> o.owner AND e.grantee = ANY (%(roles)s)
ORDER BY 1, 2, 3, 5
"""  # noqa: S608  # a constant in a constant
_OWNED = f"""
SELECT DISTINCT o.kind, o.name, o.owner FROM ({_OBJECTS}) AS o
WHERE o.owner = ANY (%(roles)s) AND o.kind <> 'SEQUENCE' ORDER BY 1, 2
"""  # noqa: S608  # a constant in a constant
_PUBLIC = 0
# These only monitor, or reserve a connection. Ownership of the database is a fault of its own.
_HARMLESS = {"pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"}
_HARMLESS |= {"pg_use_reserved_connections", "pg_database_owner"}
_ALLOWED_TO_ALL = {"SCHEMA": {"USAGE"}, "DATABASE": {"CONNECT", "TEMPORARY"}, "SEQUENCE": {"SELECT"}}


@dataclass(frozen=True)
class TableScope:
    """A table's oid, its declared owner if any, and the schemas of the table and of pgvector."""

    table: int
    owner: str | None
    schemas: Sequence[str]


class _Membership(NamedTuple):
    oid: int
    name: str
    superuser: bool
    attributes: list[str]


def public_excess(connection: Connection, scope: TableScope) -> Iterator[Fault]:
    """Yield a fault for each grant to PUBLIC beyond USAGE, CONNECT, TEMPORARY and reading a sequence."""
    yield from _granted(connection, scope, {_PUBLIC: "PUBLIC"}, "PUBLIC", _ALLOWED_TO_ALL)


def role_excess(
    connection: Connection, role: str, scope: TableScope, allowed: Mapping[str, set[str]]
) -> Iterator[Fault]:
    """Yield a fault for each right of the role beyond ``allowed``, which maps TABLE and SEQUENCE to privileges."""
    memberships = [_Membership(*row) for row in connection.execute(_MEMBERSHIPS, {"role": role})]
    for membership in memberships:
        yield from _attributes(role, membership)
    if not memberships[0].superuser:  # a superuser needs no grant
        names = {membership.oid: membership.name for membership in memberships}
        yield from _owned(connection, scope, names, role)
        yield from _granted(connection, scope, names, role, {**_ALLOWED_TO_ALL, **allowed})


def _attributes(role: str, member_of: _Membership) -> Iterator[Fault]:
    attributes = " and ".join(member_of.attributes)
    if member_of.name == role:
        if attributes:
            without = " ".join(f"NO{attribute}" for attribute in member_of.attributes)
            yield Fault(f"{role} has {attributes}", f"ALTER ROLE {_quoted(role)} {without};")
    elif attributes or (member_of.name.startswith("pg_") and member_of.name not in _HARMLESS):
        message = f"{role} has {attributes or 'its rights'} as a member of {member_of.name}"
        yield Fault(message, f"REVOKE {_quoted(member_of.name)} FROM {_quoted(role)};")


def _owned(connection: Connection, scope: TableScope, names: Mapping[int, str], role: str) -> Iterator[Fault]:
    values = {"table": scope.table, "schemas": scope.schemas, "roles": list(names)}
    for kind, name, owner in connection.execute(_OWNED, values):
        if names[owner] == role:
            owner = _quoted(scope.owner) if scope.owner else "..."
            yield Fault(f"{role} owns the {kind.lower()} {name}", f"ALTER {kind} {name} OWNER TO {owner};")
        else:
            remedy = f"REVOKE {_quoted(names[owner])} FROM {_quoted(role)};"
            yield Fault(f"{role} owns the {kind.lower()} {name} as a member of {names[owner]}", remedy)


def _granted(
    connection: Connection, scope: TableScope, names: Mapping[int, str], role: str, allowed: Mapping[str, set[str]]
) -> Iterator[Fault]:
    """Yield a fault for each privilege that is not allowed, or grantable. ``names`` maps oids of grantees to names."""
    values = {"table": scope.table, "schemas": scope.schemas, "roles": list(names)}
    excess: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for kind, name, attribute, grantee, privilege, grantable in connection.execute(_GRANTED, values):
        column = f" ({_quoted(attribute)})" if attribute else ""
        option = "GRANT OPTION FOR " if privilege in allowed.get(kind, set()) else ""
        if grantable or not option:
            excess[option, f"ON {kind} {name}", names[grantee]].append(privilege + column)
    for (option, on_object, grantee), privileges in excess.items():
        rights = ", ".join(privileges)
        message = f"{role} may {'grant others ' if option else ''}{rights} {on_object}"
        if grantee == role:
            grantee_sql = role if role == "PUBLIC" else _quoted(role)
            yield Fault(message, f"REVOKE {option}{rights} {on_object} FROM {grantee_sql};")
        else:
            yield Fault(f"{message} as a member of {grantee}", f"REVOKE {_quoted(grantee)} FROM {_quoted(role)};")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
