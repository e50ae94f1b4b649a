"""What a role may do with a table, by whatever way: grants, PUBLIC, ownership, membership, attributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from postgres.connection import Connection
from postgres.relation import Relation

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
_NEWER = {"MAINTAIN": 170000}

# The role itself and all that it can become: it may do what any of them may, at once or after SET ROLE.
_SELVES = """
SELECT oid, rolname, rolsuper,
       pg_catalog.array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
         CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
         CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)
FROM pg_catalog.pg_roles
WHERE rolname = %(role)s
   OR (pg_catalog.pg_has_role(%(role)s::pg_catalog.name, oid, 'USAGE, SET, MEMBER WITH ADMIN OPTION')
       AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = %(role)s))
ORDER BY rolname <> %(role)s, rolname
"""
# What is granted on the table or a partition, as a whole or on a column.
_ON_TABLES = """
SELECT privilege
FROM pg_catalog.unnest(%(privileges)s::text[]) AS privilege, pg_catalog.unnest(%(tables)s::oid[]) AS relid
WHERE pg_catalog.has_table_privilege({role}, relid, privilege)
   OR (pg_catalog.split_part(privilege, ' ', 1) IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
       AND pg_catalog.has_any_column_privilege({role}, relid, privilege))
"""
_OF_ROLE = _ON_TABLES.format(role="%(role)s::pg_catalog.oid")
_OF_PUBLIC = _ON_TABLES.format(role="'public'")
_TREE = """
SELECT oid, relowner FROM pg_catalog.pg_class
WHERE oid = %(oid)s OR oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%(oid)s))
"""
_AROUND = """
SELECT pg_catalog.has_schema_privilege(%(role)s::pg_catalog.oid, c.relnamespace, 'CREATE'),
       pg_catalog.has_database_privilege(%(role)s::pg_catalog.oid, pg_catalog.current_database(), 'CREATE'),
       pg_catalog.quote_ident(pg_catalog.current_database()), c.relnamespace::pg_catalog.regnamespace::text
FROM pg_catalog.pg_class c WHERE c.oid = %(table)s
"""
# They show figures and settings; the other roles that PostgreSQL brings read or change what is not theirs.
_WATCHING = {"pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"}
_HARMLESS = _WATCHING | {"pg_database_owner", "pg_use_reserved_connections"}


@dataclass(frozen=True)
class Self:
    """A role, or one that it is a member of."""

    oid: int
    name: str
    superuser: bool
    attributes: list[str]


@dataclass(frozen=True)
class Tables:
    """A table and its partitions: their oids and their owners."""

    root: int
    oids: list[int]
    owners: set[int]


def selves(connection: Connection, role: str) -> list[Self]:
    """The role, first, and all that it can become; the role alone for a superuser, who can become anybody."""
    return [Self(*row) for row in connection.execute(_SELVES, {"role": role})]


def tables(connection: Connection, relation: Relation) -> Tables:
    """The table with its partitions."""
    rows = connection.execute(_TREE, {"oid": relation.oid}).fetchall()
    return Tables(relation.oid, [oid for oid, _ in rows], {owner for _, owner in rows})


def public_privileges(connection: Connection, found: Tables) -> set[str]:
    """What everybody may do with the table, a column or a partition of it."""
    return _privileges(connection, _OF_PUBLIC, found, _known(connection))


def excess(connection: Connection, role: str, found: Tables, needed: set[str]) -> Iterator[str]:
    """What a role may do beyond what it needs, each in words. What everybody may do is not said again."""
    for self in selves(connection, role):
        by = "" if self.name == role else f", as a member of {self.name}"
        if self.attributes:
            yield f"has {', '.join(self.attributes)}{by}"
        if self.superuser:
            continue  # which says it all
        if self.oid in found.owners:
            yield f"owns it{by}"
            continue
        if self.name.startswith("pg_") and self.name not in _HARMLESS:
            yield f"is a member of {self.name}"
        yield from (f"{what}{by}" for what in _excess_of(connection, self, found, needed))


def _excess_of(connection: Connection, self: Self, found: Tables, needed: set[str]) -> Iterator[str]:
    everybody = public_privileges(connection, found)
    known = _known(connection)
    more = _privileges(connection, _OF_ROLE, found, known, self) - needed - everybody
    granting = _privileges(connection, _OF_ROLE, found, [f"{name} WITH GRANT OPTION" for name in known], self)
    if more:
        yield f"may {', '.join(name for name in PRIVILEGES if name in more)}"
    if granting:
        yield "may grant its rights to others"
    row = connection.execute(_AROUND, {"role": self.oid, "table": found.root}).fetchone()
    if row and row[0]:
        yield f"may CREATE in the schema {row[3]}"
    if row and row[1]:
        yield f"may CREATE in the database {row[2]}"


def _known(connection: Connection) -> list[str]:
    return [name for name in PRIVILEGES if connection.info.server_version >= _NEWER.get(name, 0)]


def _privileges(
    connection: Connection, query: LiteralString, found: Tables, names: list[str], self: Self | None = None
) -> set[str]:
    values = {"privileges": names, "tables": found.oids, "role": self.oid if self else None}
    return {name for (name,) in connection.execute(query, values)}
