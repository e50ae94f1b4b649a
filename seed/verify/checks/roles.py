"""roles: the table has its owner, its reader can read, its writer can write, and neither can do more."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from postgres.metrics import OPERATORS
from search.reader import Reader
from seed.verify.check import Check
from seed.verify.look import Look, NotAllowedError
from seed.verify.outcome import Outcome, failed, not_declared, passed
from seed.verify.privileges import excess, public_privileges, tables

_READING = {"SELECT"}
_WRITING = {"SELECT", "INSERT", "UPDATE", "DELETE"}
_EXISTS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s)"
_SCHEMA = "SELECT pg_catalog.has_schema_privilege(%s::pg_catalog.name, %s, 'USAGE')"
_COLUMN = "SELECT pg_catalog.has_column_privilege(%s::pg_catalog.name, %s::oid, %s::text, %s)"
_TABLE = "SELECT pg_catalog.has_table_privilege(%s::pg_catalog.name, %s::oid, %s)"
# Row security shows nothing to a role without a policy that permits something, nor through one that forbids all.
_SHUT_OUT = """
SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
   AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
   AND (SELECT coalesce(pg_catalog.bool_and(shut) FILTER (WHERE permissive), true)
            OR coalesce(pg_catalog.bool_or(shut) FILTER (WHERE NOT permissive), false)
        FROM (SELECT p.polpermissive AS permissive,
                     ('false' IN (pg_catalog.pg_get_expr(p.polqual, c.oid),
                                  pg_catalog.pg_get_expr(p.polwithcheck, c.oid))) IS TRUE AS shut
              FROM pg_catalog.pg_policy p CROSS JOIN pg_catalog.unnest(p.polroles) AS target
              WHERE p.polrelid = c.oid AND p.polcmd IN ('*', %s)
                AND (target = 0 OR pg_catalog.pg_has_role(r.oid, target, 'USAGE'))) AS policies)
FROM pg_catalog.pg_class c, pg_catalog.pg_roles r
WHERE c.oid = %s AND r.rolname = %s
"""
# A serial column takes its values with the writer's rights, an identity column with its own.
_CLOSED_SEQUENCES = """
SELECT s.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_attrdef a
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = a.oid
  AND d.refclassid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_class s ON s.oid = d.refobjid
WHERE a.adrelid = %s
  AND CASE s.relkind
        WHEN 'S' THEN NOT pg_catalog.has_sequence_privilege(%s::pg_catalog.name, s.oid, 'USAGE, UPDATE')
      END
"""
_SERVER_DEFAULT = """
SELECT reset_val FROM pg_catalog.pg_settings
WHERE name = 'default_transaction_read_only' AND source IN ('configuration file', 'command line', 'default')
"""
_IS_TRUE = "SELECT pg_catalog.bool(%s::text)"
# The metric's operator is a function, which everybody may run unless that was taken away.
_FUNCTION = """
SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(%s::pg_catalog.name, o.oprcode, 'EXECUTE'))
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_type t ON t.oid = o.oprleft
WHERE n.nspname = %s AND o.oprname = %s AND t.typname = %s
"""
_SEQUENCE = """
SELECT s.oid::pg_catalog.regclass::text FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid
WHERE d.refobjid = %s AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  AND CASE s.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(%s::pg_catalog.name, s.oid, 'USAGE, UPDATE') END
"""


def judge(look: Look) -> Outcome:
    """Judge the owner, PUBLIC, then the reader and the writer."""
    roles, owner = look.contract.roles, look.table.owner
    if owner is None and roles.writer is None and roles.reader is None:
        return not_declared("an owner or roles")
    reader, writer = (name if name and look.value(_EXISTS, name) else None for name in (roles.reader, roles.writer))
    unread = list(_cannot_read(look, reader)) if reader else []
    faults = [*unread, *_others(look, reader, writer)]
    groundless = frozenset({"plan", "recall"}) if unread else frozenset[str]()
    expected = _expected(look)
    if faults:
        return failed(expected, "; ".join(what for what, _ in faults), "\n".join(how for _, how in faults), groundless)
    if writer and look.value("SELECT pg_catalog.pg_is_in_recovery()"):
        raise NotAllowedError("this server is a standby: whether the writer can write shows on the primary")
    return passed("as declared", expected)


def _expected(look: Look) -> str:
    roles, owner = look.contract.roles, look.table.owner
    return ", ".join(
        filter(
            None,
            [
                owner and f"owner {owner}",
                roles.reader and f"{roles.reader} reads and no more",
                roles.writer and f"{roles.writer} reads and writes and no more",
            ],
        )
    )


def _others(look: Look, reader: str | None, writer: str | None) -> Iterator[tuple[str, str]]:
    owner, table = look.table.owner, look.sql_name.as_string()
    found = tables(look.connection, look.there)
    if owner not in (None, look.there.owner):
        yield f"the owner is {look.there.owner}", f"ALTER TABLE {table} OWNER TO {_quoted(owner or '')};"
    if writer:
        yield from _cannot_write(look, writer)
    if reader and reader != writer:
        for (name,) in look.connection.execute(_SEQUENCE, (look.there.oid, reader)):
            yield f"{reader} may move the sequence {name}", f"REVOKE ALL ON SEQUENCE {name} FROM {_quoted(reader)};"
    public = public_privileges(look.connection, found)
    if public:
        rights = ", ".join(sorted(public))
        yield f"PUBLIC may {rights}", f"REVOKE {rights} ON {table} FROM PUBLIC;"
    for role in dict.fromkeys(filter(None, (reader, writer))):
        needed = _WRITING if role == writer else _READING
        for what in excess(look.connection, role, found, needed):
            if not (role == owner and what == "owns it"):
                yield f"{role} {what}", _take_away(look, role, what)


def _take_away(look: Look, role: str, what: str) -> str:
    words = what.split()
    if words[0] == "has" and "member" not in words:
        return f"ALTER ROLE {_quoted(role)} {' '.join('NO' + name.strip(',') for name in words[1:])};"
    if "as a member of" in what or "is a member of" in what:
        return f"REVOKE {_quoted(words[-1])} FROM {_quoted(role)};"
    if what == "owns it":
        owner = _quoted(look.table.owner) if look.table.owner else "..."
        return f"ALTER TABLE {look.sql_name.as_string()} OWNER TO {owner};"
    if words[1] == "CREATE":
        where = " ".join(words[3:]).replace("the schema", "SCHEMA").replace("the database", "DATABASE")
        return f"REVOKE CREATE ON {where.removeprefix('in ')} FROM {_quoted(role)}, PUBLIC;"
    if words[1] == "grant":
        return f"REVOKE GRANT OPTION FOR ALL ON {look.sql_name.as_string()} FROM {_quoted(role)};"
    return f"REVOKE {what.removeprefix('may ')} ON {look.sql_name.as_string()} FROM {_quoted(role)};"


def _cannot_read(look: Look, reader: str) -> Iterator[tuple[str, str]]:
    yield from _lacks(look, reader, "SELECT", "r")
    column = look.searched
    if column is not None and column.metric is not None:
        operator = OPERATORS[column.metric]
        if look.value(_FUNCTION, reader, column.extension, operator, column.type) is False:
            yield f"{reader} may not run the function of {operator}", f"GRANT EXECUTE on it to {_quoted(reader)};"


def _cannot_write(look: Look, writer: str) -> Iterator[tuple[str, str]]:
    for privilege, command in (("SELECT", "r"), ("INSERT", "a"), ("UPDATE", "w"), ("DELETE", "d")):
        yield from _lacks(look, writer, privilege, command)
    for (name,) in look.connection.execute(_CLOSED_SEQUENCES, (look.there.oid, writer)):
        yield f"{writer} may not use the sequence {name}", f"GRANT USAGE ON SEQUENCE {name} TO {_quoted(writer)};"
    settings = Reader(writer).settings(look.connection)
    read_only = settings.get("default_transaction_read_only") or look.value(_SERVER_DEFAULT)
    if look.value(_IS_TRUE, read_only or "off"):
        reset = f"ALTER ROLE {_quoted(writer)} SET default_transaction_read_only = off;"
        yield f"{writer} gets read-only transactions by default_transaction_read_only", reset


def _lacks(look: Look, role: str, privilege: str, command: str) -> Iterator[tuple[str, str]]:
    if not look.value(_SCHEMA, role, look.name.schema):
        schema = _quoted(look.name.schema)
        yield f"{role} may not use the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {_quoted(role)};"
    if not _has(look, role, privilege):
        grant = f"GRANT {privilege} ON {look.sql_name.as_string()} TO {_quoted(role)};"
        yield f"{role} may not {privilege}", grant
    if look.value(_SHUT_OUT, command, look.there.oid, role):
        policy = f"CREATE POLICY ... ON {look.sql_name.as_string()} FOR {privilege} TO {_quoted(role)} ...;"
        yield f"row security lets {role} {privilege} no row", policy


def _has(look: Look, role: str, privilege: str) -> bool:
    """On the table, or on the columns that are declared: a reader needs no more than these."""
    if look.value(_TABLE, role, look.there.oid, privilege):
        return True
    names = [name for name in (look.table.vector, look.table.id) if name]
    if privilege == "DELETE" or not names:
        return False
    needed = names if privilege == "SELECT" else names[:1]
    return all(look.value(_COLUMN, role, look.there.oid, name, privilege) for name in needed)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


CHECK = Check(
    "roles",
    "another owner, a reader that cannot read, a writer that cannot write, or either can do more than it must",
    judge,
    after=("table",),
)
