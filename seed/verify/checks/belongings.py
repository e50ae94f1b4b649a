"""Everything that the answers from a table depend on, with its owner and its rights, in one query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION

from .dependencies import OBJECTS

# The role itself first, then the roles that it inherits from, can SET ROLE to, or can grant itself. Superusers need no
# grant, and the owner of the database may do anything in it, which is a fault of its own.
_MEMBERSHIPS = """
memberships AS (
  SELECT s.rolname AS role, m.oid, m.rolname AS name, s.rolsuper OR m.rolsuper AS superuser,
         array_remove(ARRAY[CASE WHEN m.rolsuper THEN 'SUPERUSER' END, CASE WHEN m.rolcreatedb THEN 'CREATEDB' END,
           CASE WHEN m.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN m.rolreplication THEN 'REPLICATION' END,
           CASE WHEN m.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
         (SELECT g.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid
          WHERE a.member = s.oid AND pg_has_role(g.oid, m.oid, 'USAGE, SET, MEMBER WITH ADMIN OPTION')
          ORDER BY g.oid <> m.oid, g.rolname LIMIT 1) AS by
  FROM pg_roles s
  JOIN pg_roles m ON m.oid = s.oid
    OR (NOT s.rolsuper AND m.rolname <> 'pg_database_owner'
        AND pg_has_role(s.oid, m.oid, 'USAGE, SET, MEMBER WITH ADMIN OPTION'))
  WHERE s.rolname = ANY (%(roles)s)
  UNION ALL SELECT 'PUBLIC', 0, 'PUBLIC', false, '{}', NULL)
"""
# Indexes and sequences usually have the owner of their table.
_OWNED = """
SELECT DISTINCT m.role, m.name, o.kind, o.name FROM objects o JOIN memberships m ON m.oid = o.owner
WHERE NOT m.superuser
  AND NOT (o.kind IN ('INDEX', 'SEQUENCE') AND o.owner IN (SELECT owner FROM objects WHERE kind = 'TABLE'))
ORDER BY 1, 3, 4
"""
_GRANTED = """
SELECT m.role, m.name, o.kind, o.name, o.attribute, e.privilege_type, e.is_grantable
FROM objects o CROSS JOIN LATERAL aclexplode(o.acl) AS e JOIN memberships m ON m.oid = e.grantee
WHERE NOT m.superuser AND e.grantee IS DISTINCT FROM o.owner ORDER BY 1, 3, 4, 6
"""
# The settings that a session starts with, of several for one name the most specific.
_IDENTITIES = """
SELECT DISTINCT ON (m.role, setting)
       m.role, setting, substr(entry, strpos(entry, '=') + 1), s.setrole <> 0, s.setdatabase <> 0
FROM memberships m
JOIN pg_db_role_setting s ON s.setrole IN (0, m.oid)
JOIN pg_database d ON d.datname = current_database() AND s.setdatabase IN (0, d.oid)
CROSS JOIN unnest(s.setconfig) AS entry
CROSS JOIN split_part(entry, '=', 1) AS setting
WHERE m.role = m.name AND m.oid <> 0 AND NOT m.superuser
  AND setting IN ('role', 'session_authorization', 'session_replication_role')
ORDER BY m.role, setting, s.setrole = 0, s.setdatabase = 0
"""
_HARMLESS_IDENTITIES = ("none", "origin", "local")
# The planner has no numbers for what the recursion finds, and would compile the query for seconds.
_QUERY = f"""
SET LOCAL jit = off;
WITH RECURSIVE {OBJECTS}, {_MEMBERSHIPS}
SELECT ARRAY(SELECT to_json(x) FROM (SELECT role, name, superuser, attributes, by FROM memberships
                                     ORDER BY name <> role, name) AS x),
       ARRAY(SELECT to_json(x) FROM ({_OWNED}) AS x (role, member, kind, name)),
       ARRAY(SELECT to_json(x) FROM ({_GRANTED}) AS x (role, member, kind, name, attribute, privilege, grantable)),
       ARRAY(SELECT to_json(x) FROM ({_IDENTITIES}) AS x (role, setting, value, of_role, of_database))
"""  # noqa: S608  # constants in a constant


class Membership(NamedTuple):
    """A role that ``role`` is, or can act as, ``by`` being a member of the one that was granted to it.

    ``superuser`` is True if one of both is.
    """

    role: str
    name: str
    superuser: bool
    attributes: list[str]
    by: str | None


class Owned(NamedTuple):
    """An object that ``role`` owns, by being ``member``."""

    role: str
    member: str
    kind: str
    name: str


class Granted(NamedTuple):
    """A privilege on an object, or on its column ``attribute``, that ``role`` has, by being ``member``."""

    role: str
    member: str
    kind: str
    name: str
    attribute: str | None
    privilege: str
    grantable: bool


class Identity(NamedTuple):
    """A setting that gives sessions of ``role`` other rights or duties, of the role, the database, both or none."""

    role: str
    setting: str
    value: str
    of_role: bool
    of_database: bool


class Belongings(NamedTuple):
    """The memberships, possessions, privileges and identities of some roles, and of PUBLIC."""

    memberships: list[Membership]
    owned: list[Owned]
    granted: list[Granted]
    identities: list[Identity]


def find_belongings(connection: Connection, table: int, roles: Sequence[str]) -> Belongings:
    """Return the belongings of these roles, and of PUBLIC, among everything that the table with this oid depends on."""
    values = {"table": table, "extension": EXTENSION, "roles": list(roles)}
    ((memberships, owned, granted, identities),) = query_catalog(connection, _QUERY, values)
    return Belongings(
        [Membership(**entry) for entry in memberships],
        [Owned(**entry) for entry in owned],
        [Granted(**entry) for entry in granted],
        [Identity(**entry) for entry in identities if entry["value"] not in (*_HARMLESS_IDENTITIES, entry["role"])],
    )
