"""The privileges that the reader and the writer need on a table, and the faults if one is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvector_seed.vectors.metrics import OPERATORS

from ..context import Context
from ..model import Fault

# Privilege to the letter of its command in pg_policy.
READ_COMMANDS = {"SELECT": "r"}
WRITE_COMMANDS = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}

# Some commands need no right on the table, but one on each named column or, for a write, on the first.
_ABILITIES = """
SELECT command.privilege,
       has_schema_privilege(r.oid, c.relnamespace, 'USAGE'),
       CASE WHEN has_table_privilege(r.oid, c.oid, command.privilege) THEN true
            WHEN command.privilege <> 'DELETE' THEN coalesce(
              (SELECT bool_and(has_column_privilege(r.oid, c.oid, a.attnum, command.privilege))
               FROM unnest(CASE command.privilege WHEN 'SELECT' THEN %(columns)s::name[]
                                                  ELSE (%(columns)s::name[])[1:1] END) AS needed
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = needed AND NOT a.attisdropped), false)
            ELSE false END
FROM pg_class c, pg_roles r, unnest(%(privileges)s::text[]) WITH ORDINALITY AS command (privilege, place)
WHERE c.oid = %(table)s AND r.rolname = %(role)s
ORDER BY command.place
"""
# PUBLIC may execute the function of the metric's operator, unless that was revoked.
_REVOKED_FUNCTION = """
SELECT o.oprcode::regprocedure::text
FROM pg_operator o
JOIN pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_type t ON t.oid = o.oprleft
WHERE n.nspname = %s AND o.oprname = %s AND t.typname = %s
  AND NOT has_function_privilege(%s::name, o.oprcode, 'EXECUTE')
"""
# A serial column needs privileges on its sequence; an identity column does not.
_REVOKED_SEQUENCES = """
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


def read_faults(context: Context, reader: str) -> Iterator[Fault]:
    """Yield a fault for each reason why the reader's query would be refused, or return no row."""
    recall = context.declared.recall
    yield from _missing(context, reader, list(READ_COMMANDS), recall.filter if recall else None)
    column = context.vector_column
    if column is not None and column.metric is not None:
        for metric, type_ in column.distances:
            values = (column.extension, OPERATORS[metric], type_, reader)
            for (name,) in context.connection.execute(_REVOKED_FUNCTION, values):
                grant = f"GRANT EXECUTE ON FUNCTION {name} TO {context.quote(reader)};"
                yield Fault(f"{reader} lacks EXECUTE on the function {name}", grant)


def write_faults(context: Context, writer: str) -> Iterator[Fault]:
    """Yield a fault for each reason why the writer's statements would be refused, or affect no row."""
    yield from _missing(context, writer, list(WRITE_COMMANDS))
    for (name,) in context.connection.execute(_REVOKED_SEQUENCES, (context.table.oid, writer)):
        grant = f"GRANT USAGE ON SEQUENCE {name} TO {context.quote(writer)};"
        yield Fault(f"{writer} lacks USAGE on the sequence {name}", grant)
    setting = "default_transaction_read_only"
    if context.is_on(writer, setting):
        yield Fault(f"{setting} is on for {writer}", context.alter_role(writer, setting, "off"))


def _missing(context: Context, role: str, privileges: Sequence[str], condition: str | None = None) -> Iterator[Fault]:
    table, schema, grantee = context.sql_name.as_string(), context.quote(context.name.schema), context.quote(role)
    values = {
        "role": role,
        "table": context.table.oid,
        "columns": [name for name in (context.declared.vector, context.declared.id, condition) if name],
        "privileges": privileges,
    }
    rows = context.connection.execute(_ABILITIES, values).fetchall()
    if not all(has_usage for _, has_usage, _ in rows):
        yield Fault(f"{role} lacks USAGE on the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {grantee};")
    for privilege, _, has_privilege in rows:
        if not has_privilege:
            yield Fault(f"{role} lacks {privilege} on the table", f"GRANT {privilege} ON {table} TO {grantee};")
