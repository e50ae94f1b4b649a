"""What a role must be able to do with a table, and why it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pgvector_seed.vectors.metrics import OPERATORS
from pgvector_seed.vectors.reader import Reader

from ..context import Look
from ..model import Fault

# Each privilege with the letter of its command in pg_policy.
READING = {"SELECT": "r"}
WRITING = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}

_SCHEMA = "SELECT has_schema_privilege(%s::name, %s, 'USAGE')"
_COLUMN = "SELECT has_column_privilege(%s::name, %s::oid, %s::text, %s)"
_TABLE = "SELECT has_table_privilege(%s::name, %s::oid, %s)"
# Row security shows nothing to a role without a policy that permits something, nor through one that forbids all.
_SHUT_OUT = """
SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
   AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
   AND (SELECT coalesce(bool_and(shut) FILTER (WHERE permissive), true)
            OR coalesce(bool_or(shut) FILTER (WHERE NOT permissive), false)
        FROM (SELECT p.polpermissive AS permissive,
                     ('false' IN (pg_get_expr(p.polqual, c.oid),
                                  pg_get_expr(p.polwithcheck, c.oid))) IS TRUE AS shut
              FROM pg_policy p CROSS JOIN unnest(p.polroles) AS target
              WHERE p.polrelid = c.oid AND p.polcmd IN ('*', %s)
                AND (target = 0 OR pg_has_role(r.oid, target, 'USAGE'))) AS policies)
FROM pg_class c, pg_roles r
WHERE c.oid = %s AND r.rolname = %s
"""
# The metric's operator is a function, which everybody may run unless that was taken away.
_CLOSED_FUNCTION = """
SELECT o.oprcode::regprocedure::text
FROM pg_operator o
JOIN pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_type t ON t.oid = o.oprleft
WHERE n.nspname = %s AND o.oprname = %s AND t.typname = %s
  AND NOT has_function_privilege(%s::name, o.oprcode, 'EXECUTE')
"""
# A serial column takes its values with the writer's rights, an identity column with its own.
_CLOSED_SEQUENCES = """
SELECT s.oid::regclass::text
FROM pg_attrdef a
JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
  AND d.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = d.refobjid
WHERE a.adrelid = %s
  AND CASE s.relkind
        WHEN 'S' THEN NOT has_sequence_privilege(%s::name, s.oid, 'USAGE, UPDATE')
      END
"""
_SERVER_DEFAULT = """
SELECT reset_val FROM pg_settings
WHERE name = 'default_transaction_read_only' AND source IN ('configuration file', 'command line', 'default')
"""
_IS_TRUE = "SELECT bool(%s::text)"


def cannot_read(look: Look, reader: str) -> Iterator[Fault]:
    """Why the reader's query is refused, or answers nothing."""
    yield from _lacks(look, reader, READING)
    column = look.searched
    if column is not None and column.metric is not None:
        values = (column.extension, OPERATORS[column.metric], column.type, reader)
        for (name,) in look.connection.execute(_CLOSED_FUNCTION, values):
            yield Fault(f"{reader} may not run {name}", f"GRANT EXECUTE ON FUNCTION {name} TO {look.quoted(reader)};")


def cannot_write(look: Look, writer: str) -> Iterator[Fault]:
    """Why the writer's statements are refused."""
    yield from _lacks(look, writer, WRITING)
    for (name,) in look.connection.execute(_CLOSED_SEQUENCES, (look.there.oid, writer)):
        yield Fault(
            f"{writer} may not use the sequence {name}", f"GRANT USAGE ON SEQUENCE {name} TO {look.quoted(writer)};"
        )
    settings = Reader(writer).settings(look.connection)
    read_only = settings.get("default_transaction_read_only") or look.value(_SERVER_DEFAULT)
    if look.value(_IS_TRUE, read_only or "off"):
        here = f"{look.quoted(writer)} IN DATABASE {look.quoted(look.connection.info.dbname)}"
        reset = f"ALTER ROLE {here} SET default_transaction_read_only = off;"
        yield Fault(f"{writer} gets read-only transactions by default_transaction_read_only", reset)


def _lacks(look: Look, role: str, privileges: Mapping[str, str]) -> Iterator[Fault]:
    if not look.value(_SCHEMA, role, look.name.schema):
        schema = look.quoted(look.name.schema)
        yield Fault(
            f"{role} may not use the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {look.quoted(role)};"
        )
    table = look.sql_name.as_string()
    for privilege, command in privileges.items():
        if not _has(look, role, privilege):
            yield Fault(f"{role} may not {privilege}", f"GRANT {privilege} ON {table} TO {look.quoted(role)};")
        if look.value(_SHUT_OUT, command, look.there.oid, role):
            yield Fault(f"row security lets {role} {privilege} no row", f"See its policies, in psql: \\d {table}")


def _has(look: Look, role: str, privilege: str) -> bool:
    """On the table, or on the columns that are declared: a reader needs no more than these."""
    if look.value(_TABLE, role, look.there.oid, privilege):
        return True
    names = [name for name in (look.table.vector, look.table.id) if name]
    if privilege == "DELETE" or not names:
        return False
    needed = names if privilege == "SELECT" else names[:1]
    return all(look.value(_COLUMN, role, look.there.oid, name, privilege) for name in needed)
