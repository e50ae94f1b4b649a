"""What a role may do beyond what it must: by grants, ownership, membership or an attribute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.postgres.connection import Connection

from ..model import Fault

# The role itself, first, and all whose rights it has, can take on or can give itself.
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
# What these let a role do is no more than to look, or to get in. Who owns the database is told as its owner.
_HARMLESS = {"pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"}
_HARMLESS |= {"pg_use_reserved_connections", "pg_database_owner"}
_OF_EVERYBODY = {"SCHEMA": {"USAGE"}, "DATABASE": {"CONNECT", "TEMPORARY"}, "SEQUENCE": {"SELECT"}}


@dataclass(frozen=True)
class TableScope:
    """Where rights are looked for: a table, who should own it, and the schemas that a query of it names."""

    table: int
    owner: str | None
    schemas: Sequence[str]


class _Membership(NamedTuple):
    oid: int
    name: str
    superuser: bool
    attributes: list[str]


def excess_of_public(connection: Connection, place: TableScope) -> Iterator[Fault]:
    """What everybody may do that only some should."""
    yield from _granted(connection, place, {_PUBLIC: "PUBLIC"}, "PUBLIC", _OF_EVERYBODY)


def excess(connection: Connection, role: str, place: TableScope, allowed: Mapping[str, set[str]]) -> Iterator[Fault]:
    """What a role may do beyond ``allowed``, which maps TABLE and SEQUENCE to privileges."""
    memberships = [_Membership(*row) for row in connection.execute(_MEMBERSHIPS, {"role": role})]
    for of in memberships:
        yield from _attributes(role, of)
    if not memberships[0].superuser:  # which says it all
        names = {of.oid: of.name for of in memberships}
        yield from _owned(connection, place, names, role)
        yield from _granted(connection, place, names, role, {**_OF_EVERYBODY, **allowed})


def _attributes(role: str, of: _Membership) -> Iterator[Fault]:
    attributes = " and ".join(of.attributes)
    if of.name == role:
        if attributes:
            without = " ".join(f"NO{attribute}" for attribute in of.attributes)
            yield Fault(f"{role} has {attributes}", f"ALTER ROLE {_quoted(role)} {without};")
    elif attributes or (of.name.startswith("pg_") and of.name not in _HARMLESS):
        what = f"{role} has {attributes or 'its rights'} as a member of {of.name}"
        yield Fault(what, f"REVOKE {_quoted(of.name)} FROM {_quoted(role)};")


def _owned(connection: Connection, place: TableScope, names: Mapping[int, str], role: str) -> Iterator[Fault]:
    values = {"table": place.table, "schemas": place.schemas, "roles": list(names)}
    for kind, name, owner in connection.execute(_OWNED, values):
        if names[owner] == role:
            owner = _quoted(place.owner) if place.owner else "..."
            yield Fault(f"{role} owns the {kind.lower()} {name}", f"ALTER {kind} {name} OWNER TO {owner};")
        else:
            remedy = f"REVOKE {_quoted(names[owner])} FROM {_quoted(role)};"
            yield Fault(f"{role} owns the {kind.lower()} {name} as a member of {names[owner]}", remedy)


def _granted(
    connection: Connection, place: TableScope, names: Mapping[int, str], role: str, allowed: Mapping[str, set[str]]
) -> Iterator[Fault]:
    """The grants to any of ``names``, said of ``role``: those that are not allowed, and those that can be handed on."""
    values = {"table": place.table, "schemas": place.schemas, "roles": list(names)}
    more: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for kind, name, attribute, grantee, privilege, grantable in connection.execute(_GRANTED, values):
        column = f" ({_quoted(attribute)})" if attribute else ""
        option = "GRANT OPTION FOR " if privilege in allowed.get(kind, set()) else ""
        if grantable or not option:
            more[option, f"ON {kind} {name}", names[grantee]].append(privilege + column)
    for (option, where, grantee), privileges in more.items():
        rights = ", ".join(privileges)
        what = f"{role} may {'let others ' if option else ''}{rights} {where}"
        if grantee == role:
            to = role if role == "PUBLIC" else _quoted(role)
            yield Fault(what, f"REVOKE {option}{rights} {where} FROM {to};")
        else:
            yield Fault(f"{what} as a member of {grantee}", f"REVOKE {_quoted(grantee)} FROM {_quoted(role)};")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
