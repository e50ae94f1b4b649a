"""Everything that the answers from a table depend on, with its owner and its rights, in one query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.extension import EXTENSION

# The table with its partitions and children, and the relations, types and functions that they use. ``ways`` are other
# relations whose privileges write to it: a table to which a foreign key with an action refers, and a view that has the
# rights of its owner and passes statements on to its first relation.
_OBJECTS = """
tables AS (SELECT %(table)s::oid AS oid UNION SELECT inhrelid FROM pg_inherits JOIN tables ON inhparent = oid),
ways (oid, privilege) AS (
  SELECT oid, privilege FROM tables, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS privilege
  UNION SELECT way.oid, way.privilege FROM ways w CROSS JOIN LATERAL (
    SELECT confrelid, 'DELETE' FROM pg_constraint
    WHERE conrelid = w.oid AND (confdeltype, w.privilege) IN (('c', 'DELETE'), ('n', 'UPDATE'), ('d', 'UPDATE'))
    UNION ALL SELECT confrelid, 'UPDATE' FROM pg_constraint
    WHERE conrelid = w.oid AND confupdtype IN ('c', 'n', 'd') AND w.privilege = 'UPDATE'
    UNION ALL SELECT v.oid, w.privilege
    FROM pg_depend d
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = w.oid
      AND substring(r.ev_action::text FROM ':relid ([0-9]+)') = w.oid::text
      AND pg_relation_is_updatable(v.oid, false) & CASE w.privilege WHEN 'UPDATE' THEN 4 WHEN 'INSERT' THEN 8
                                                                    ELSE 16 END <> 0
      AND has_table_privilege(v.relowner, w.oid, w.privilege)
      AND NOT EXISTS (SELECT FROM pg_options_to_table(v.reloptions)
                      WHERE option_name = 'security_invoker' AND option_value::bool)) AS way (oid, privilege)),
types (oid) AS (
  SELECT a.atttypid FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION SELECT part FROM types t JOIN pg_type y USING (oid), unnest(ARRAY[y.typbasetype, y.typelem]) AS part
  WHERE part <> 0),
defaults AS (SELECT a.oid FROM pg_attrdef a JOIN tables t ON t.oid = a.adrelid),
relations AS (
  SELECT 'TABLE' AS kind, oid FROM tables
  UNION ALL SELECT 'INDEX', indexrelid FROM pg_index JOIN tables ON oid = indrelid
  UNION SELECT 'SEQUENCE', s.oid
  FROM pg_depend d
  JOIN pg_class s ON s.relkind = 'S' AND ((d.objid, d.classid) = (s.oid, 'pg_class'::regclass)
                                          OR (d.refobjid, d.refclassid) = (s.oid, 'pg_class'::regclass))
  WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM tables) AND d.deptype IN ('a', 'i'))
     OR (d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT oid FROM defaults))),
extensions AS (SELECT * FROM pg_extension WHERE extname = %(extension)s),
members AS (SELECT d.classid, d.objid FROM pg_depend d JOIN extensions e ON d.refobjid = e.oid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
users AS (
  SELECT 'pg_class'::regclass AS classid, oid FROM relations
  UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM defaults
  UNION ALL SELECT 'pg_trigger'::regclass, g.oid FROM pg_trigger g JOIN tables t ON t.oid = tgrelid
  UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN tables t ON t.oid = polrelid
  UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN tables t ON t.oid = conrelid
  UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN types t ON t.oid = contypid),
functions AS (
  SELECT objid AS oid FROM members WHERE classid = 'pg_proc'::regclass
  UNION SELECT d.refobjid FROM pg_depend d JOIN users u ON (d.classid, d.objid) = (u.classid, u.oid)
        WHERE d.refclassid = 'pg_proc'::regclass),
objects (kind, name, owner, attribute, acl) AS (
  SELECT r.kind, format('%%I.%%I', n.nspname, c.relname), c.relowner, a.*
  FROM relations r
  JOIN pg_class c ON c.oid = r.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT NULL::name, c.relacl
                      UNION ALL SELECT attname, attacl FROM pg_attribute
                                WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL) AS a
  UNION ALL
  SELECT 'WAY', format('%%I.%%I', n.nspname, c.relname), NULL, a.attribute,
         ARRAY(SELECT makeaclitem(e.grantee, e.grantor, e.privilege_type, e.is_grantable) FROM aclexplode(a.acl) AS e
               WHERE (c.oid, e.privilege_type) IN (SELECT oid, privilege FROM ways))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT NULL::name, coalesce(c.relacl, acldefault('r', c.relowner))
                      UNION ALL SELECT attname, attacl FROM pg_attribute
                                WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL
                     ) AS a (attribute, acl)
  WHERE c.oid IN (SELECT oid FROM ways) AND c.oid NOT IN (SELECT oid FROM tables)
  UNION ALL
  SELECT 'SCHEMA', quote_ident(nspname), nspowner, NULL, nspacl FROM pg_namespace
  WHERE oid IN (SELECT extnamespace FROM extensions
                UNION ALL SELECT c.relnamespace FROM pg_class c JOIN relations r ON r.oid = c.oid)
  UNION ALL
  SELECT 'DATABASE', quote_ident(datname), datdba, NULL, datacl FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT 'EXTENSION', quote_ident(extname), extowner, NULL, NULL FROM extensions
  UNION ALL
  SELECT 'FUNCTION', oid::regprocedure::text, proowner, NULL, proacl FROM pg_proc JOIN functions USING (oid)
  UNION ALL
  SELECT 'TYPE', oid::regtype::text, typowner, NULL, typacl FROM pg_type
  WHERE typcategory <> 'A' AND (oid IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
                                OR oid IN (SELECT oid FROM types))
  UNION ALL
  SELECT 'COLLATION', format('%%I.%%I', n.nspname, o.collname), collowner, NULL, NULL
  FROM pg_collation o JOIN pg_namespace n ON n.oid = o.collnamespace
  WHERE o.oid IN (SELECT a.attcollation FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid)
  UNION ALL
  SELECT 'OPERATOR', oid::regoperator::text, oprowner, NULL, NULL FROM pg_operator
  WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_operator'::regclass)
  UNION ALL
  SELECT 'OPERATOR CLASS', format('%%I.%%I USING %%I', n.nspname, o.opcname, a.amname), opcowner, NULL, NULL
  FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
  WHERE o.oid IN (SELECT objid FROM members WHERE classid = 'pg_opclass'::regclass)
  UNION ALL
  SELECT 'PARAMETER', parname, NULL, NULL, paracl FROM pg_parameter_acl)
"""
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
_QUERY = f"""
WITH RECURSIVE {_OBJECTS}, {_MEMBERSHIPS}
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
    row = connection.execute(_QUERY, values).fetchone()
    assert row is not None
    memberships, owned, granted, identities = row
    return Belongings(
        [Membership(**entry) for entry in memberships],
        [Owned(**entry) for entry in owned],
        [Granted(**entry) for entry in granted],
        [Identity(**entry) for entry in identities if entry["value"] not in (*_HARMLESS_IDENTITIES, entry["role"])],
    )
