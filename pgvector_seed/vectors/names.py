"""The names of a reader's plain query, resolved in the reader's search_path without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pgvector_seed.postgres.catalog import TableName
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.metrics import OPERATORS

_CATALOG = "pg_catalog"
# The schemas of a path at the role's login: those that exist and that it may use. Temporary ones are empty then.
_PATH = """
path AS (
  SELECT n.oid, min(p.place) AS place
  FROM unnest(%(path)s::text[]) WITH ORDINALITY AS p (name, place)
  JOIN pg_namespace n ON n.nspname = p.name AND has_schema_privilege(%(role)s::name, n.oid, 'USAGE')
  GROUP BY n.oid)
"""
# An operand of unknown type, such as a parameter, takes the type of the other one, so operators are looked up by exact
# types. A function also serves a call with fewer arguments than it has, if the others have defaults.
_SHADOWS = f"""
WITH {_PATH},
extension AS (SELECT e.oid, path.place FROM pg_extension e LEFT JOIN path ON path.oid = e.extnamespace
              WHERE e.extname = %(extension)s),
members AS (SELECT d.classid, d.objid FROM pg_depend d JOIN extension e ON d.refobjid = e.oid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
operators AS (SELECT o.* FROM pg_operator o JOIN members m ON m.objid = o.oid AND m.classid = 'pg_operator'::regclass
              WHERE o.oprname = ANY (%(operators)s)),
functions AS (SELECT p.* FROM pg_proc p JOIN members m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass
              WHERE p.oid IN (SELECT oprcode FROM operators) OR p.proname = 'binary_quantize'),
types AS (SELECT t.* FROM pg_type t JOIN members m ON m.objid = t.oid AND m.classid = 'pg_type'::regclass
          WHERE t.typcategory <> 'A'),
others (classid, oid, schema) AS (
  SELECT 'pg_operator'::regclass, o.oid, o.oprnamespace FROM pg_operator o
  JOIN operators USING (oprname, oprleft, oprright)
  UNION ALL SELECT 'pg_type'::regclass, t.oid, t.typnamespace FROM pg_type t JOIN types USING (typname)
  UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc p JOIN functions f USING (proname)
            WHERE f.pronargs BETWEEN p.pronargs - p.pronargdefaults AND p.pronargs
              AND (p.proargtypes::oid[])[0:f.pronargs - 1] = (f.proargtypes::oid[])[0:])
SELECT DISTINCT pg_describe_object(o.classid, o.oid, 0)
FROM others o
JOIN path ON path.oid = o.schema
JOIN extension e ON path.place < e.place
WHERE o.schema <> 'pg_catalog'::regnamespace
  AND NOT EXISTS (SELECT FROM members m WHERE (m.classid, m.objid) = (o.classid, o.oid))
ORDER BY 1
"""  # noqa: S608  # a constant in a constant
# The relation of any kind that the plain name finds, if it is not the table.
_OTHER_RELATION = f"""
WITH {_PATH},
named AS (SELECT c.oid, c.relkind, format('%%I.%%I', path.oid::regnamespace::name, c.relname) AS name, path.place
          FROM pg_class c JOIN path ON path.oid = c.relnamespace WHERE c.relname = %(table)s)
SELECT other.name, other.relkind
FROM named AS other JOIN named AS own ON own.oid = %(oid)s AND other.place < own.place
ORDER BY other.place
LIMIT 1
"""  # noqa: S608  # a constant in a constant
# The other schemas that the path searches up to the table's and pgvector's, and the roles that could add names there.
# PUBLIC is also a name of has_schema_privilege, in lower case.
_CREATORS = f"""
WITH {_PATH},
needed AS (SELECT extnamespace AS oid FROM pg_extension WHERE extname = %(extension)s
           UNION SELECT relnamespace FROM pg_class WHERE oid = %(oid)s)
SELECT n.nspname, creator, CASE WHEN creator <> 'public' THEN pg_has_role(creator, n.nspowner, 'USAGE') ELSE false END
FROM path
JOIN pg_namespace n USING (oid)
CROSS JOIN unnest(%(creators)s::name[]) AS creator
WHERE path.place < (SELECT coalesce(max(p.place), 0) FROM path p JOIN needed USING (oid))
  AND n.oid NOT IN (SELECT oid FROM needed)
  AND has_schema_privilege(creator, n.oid, 'CREATE')
  AND (creator = 'public' OR NOT has_schema_privilege('public', n.oid, 'CREATE'))
  AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = creator AND rolsuper)
ORDER BY path.place, creator
"""  # noqa: S608  # a constant in a constant


class Creator(NamedTuple):
    """A role, or "public", that may create in a schema, ``as_owner`` or by a grant."""

    schema: str
    role: str
    as_owner: bool


def shadows(connection: Connection, role: str, path: Sequence[str]) -> list[str]:
    """Return the operators, types and functions that this path of a role finds before pgvector's of the same name.

    They are descriptions of the server, such as "type app.vector". PostgreSQL's own in pg_catalog do not count.
    """
    values = {"role": role, "path": _complete(path), "extension": EXTENSION, "operators": list(OPERATORS.values())}
    return [description for (description,) in query_catalog(connection, _SHADOWS, values)]


def other_relation(
    connection: Connection, role: str, path: Sequence[str], table: TableName, oid: int
) -> tuple[str, str] | None:
    """Return the name and the relkind of the relation that this path finds before the table, or None.

    None also if the path does not find the table: then its queries name the schema.
    """
    values = {"role": role, "path": _complete(path), "table": table.table, "oid": oid}
    rows = query_catalog(connection, _OTHER_RELATION, values)
    return (rows[0][0], rows[0][1]) if rows else None


def creators(connection: Connection, role: str, path: Sequence[str], oid: int, others: Sequence[str]) -> list[Creator]:
    """Return the schemas that a path searches before the table or pgvector, with the ``others`` that may create there.

    Objects in it would be found instead. ``path`` is the role's search_path, ``oid`` the table's. The schemas of the
    table and of pgvector are left out.
    """
    values = {"role": role, "path": _complete(path), "oid": oid, "extension": EXTENSION, "creators": list(others)}
    return [Creator(*row) for row in query_catalog(connection, _CREATORS, values)]


def _complete(path: Sequence[str]) -> list[str]:
    """Return the path with the schema that the server searches first, unless the path names it."""
    return list(path) if _CATALOG in path else [_CATALOG, *path]
