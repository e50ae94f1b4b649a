"""Objects that a statement must not change: those outside of the scratch schema, and the ledger.

The names in a statement are looked up before it runs, so that no real table is locked or changed. The effect of a DO
block or a function shows afterwards, in the transaction's locks.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import rows

# Keywords before the name of a relation. DELETE after ON is taken for one, too, which does no harm.
_BEFORE_A_NAME = {"ON", "ONLY", "REFERENCES"}
_BEFORE_ITS_OWN = {
    *("TABLE", "VIEW", "SEQUENCE", "INDEX", "EXISTS", "TRUNCATE", "LOCK", "CONCURRENTLY", "CLUSTER", "INHERIT"),
    *("PARTITION", "TYPE", "DOMAIN", "FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE", "USING"),
}
_TWO_BEFORE_A_NAME = {("PARTITION", "OF"), ("(", "LIKE"), (",", "LIKE"), ("INHERITS", "(")}
_ROWS_ONLY = ("INSERT", "SELECT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH", "SET")
_IN_NO_SCHEMA = {
    *("ACCESS", "CAST", "DATABASE", "EVENT", "GROUP", "LANGUAGE", "PUBLICATION", "ROLE", "SCHEMA", "SERVER"),
    *("SUBSCRIPTION", "SYSTEM", "TABLESPACE", "TRANSFORM", "USER"),
}

# Every operator here has the exact types of one in pg_catalog: the search_path has schemas in which other roles may
# create a better match.
_OUTSIDE = """
SELECT pg_catalog.concat(n.nspname, '.', name)
FROM pg_catalog.unnest(%s::text[]) AS name
LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(name)::oid
LEFT JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.to_regtype(name)::oid AND %s
LEFT JOIN pg_catalog.pg_proc p ON p.oid = pg_catalog.to_regproc(name)::oid AND %s
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace, p.pronamespace)
WHERE n.nspname <> %s AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
LIMIT 1
"""
# A relation in another schema that this transaction has locked to change it, or another schema in which it created,
# or tried to create, an object.
_REACHED = """
SELECT CASE l.locktype WHEN 'object' THEN pg_catalog.concat('the schema ', l.objid::regnamespace)
                       ELSE l.relation::regclass::text END
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, l.objid)
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND n.nspname <> %s AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
  AND (l.locktype = 'object' AND l.classid = 'pg_catalog.pg_namespace'::regclass::oid
       OR l.locktype = 'relation' AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'SIReadLock'))
LIMIT 1
"""
# The migration may have changed the role and the path.
_OWN_ROLE_AND_PATH = "RESET ROLE; SET LOCAL search_path TO pg_catalog, pg_temp; "
# The locks that this transaction holds until its end on the ledger, or on a new relation in its schema. What a
# savepoint has rolled back holds none. ANALYZE of all tables and COMMENT take ShareUpdateExclusiveLock; GRANT takes
# none, or AccessShareLock in PostgreSQL 18; a serializable transaction that reads takes SIReadLock.
_LEDGER_CHANGED = """
SELECT to_regclass('pgvector_seed.migrations') IS NULL
    OR to_regclass('pgvector_seed.deployment') IS NULL
    OR EXISTS (SELECT FROM pg_locks
               WHERE pid = pg_backend_pid() AND locktype = 'relation'
                 AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareUpdateExclusiveLock', 'SIReadLock')
                 AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('pgvector_seed')::oid))
"""
_LEDGER_MADE = "SELECT to_regnamespace('pgvector_seed') IS NOT NULL"
_RESERVED = (
    "Take that out of the file: only pgvector-seed writes in the schema pgvector_seed. For the commands that fix "
    f"the ledger: {PROGRAM} migrate --help"
)


def changes_rows_only(statement: Statement) -> bool:
    """Return True for a statement that by itself creates no object."""
    return statement.words[0] in _ROWS_ONLY


def named_outside(connection: Connection, statement: Statement, scratch: str) -> str | None:
    """Return an object that a statement names outside of the scratch schema, or in no schema; None if there is none."""
    words = statement.words
    if words[:2] == ["DROP", "EXTENSION"] or (words[0] in ("CREATE", "ALTER", "DROP") and words[1] in _IN_NO_SCHEMA):
        return f"an object in no schema ({words[0]} {words[1]})"
    drops = words[0] == "DROP"  # types and routines of that name, too
    row = connection.execute(_OUTSIDE, (list(_names(statement)), drops, drops, scratch)).fetchone()
    return row[0] if row else None


def locked_outside(connection: Connection, scratch: str) -> str | None:
    """Return an object outside of the scratch schema that the transaction has locked to change it, or None."""
    row = connection.execute(_REACHED, (scratch,)).fetchone()
    return row[0] if row else None


def refuse_ledger_change(connection: Connection, file: str, *, missing: bool) -> None:
    """Raise RefusedError if the transaction changed the ledger, or made a relation in its schema.

    Resets the role; the search_path is pg_catalog afterwards, until the transaction ends. ``missing`` is True if there
    is no ledger yet. Not detected: a GRANT, a function or a type in the schema, a change of the system catalog by hand,
    and changes by another session, as with dblink.
    """
    changed = connection.execute(_OWN_ROLE_AND_PATH + (_LEDGER_MADE if missing else _LEDGER_CHANGED), prepare=False)
    if rows(changed) == [(True,)]:
        raise RefusedError(f"{file} changes the ledger, so it was rolled back", _RESERVED)


def _names(statement: Statement) -> Iterator[str]:
    """Yield the names, with their schemas, where the name of an existing relation may stand."""
    words = statement.words
    if changes_rows_only(statement):
        keyword = {"INSERT": "INTO", "MERGE": "INTO", "DELETE": "FROM", "UPDATE": "UPDATE"}.get(words[0])
        if keyword:
            yield from _name_at(statement, words.index(keyword) + 1)
        return
    before = _BEFORE_A_NAME if words[0] == "CREATE" else _BEFORE_A_NAME | _BEFORE_ITS_OWN
    before |= {","} if words[0] in ("DROP", "TRUNCATE", "LOCK") else set()
    before |= {"TO"} if words[:2] == ["CREATE", "RULE"] else set()
    for index in range(1, len(words)):
        if words[index - 1] in before or (words[index - 2], words[index - 1]) in _TWO_BEFORE_A_NAME:
            yield from _name_at(statement, index)


def _name_at(statement: Statement, index: int) -> Iterator[str]:
    end = index + 1
    while statement.words[end : end + 1] == ["."]:
        end += 2
    name = "".join(statement.tokens[index:end])
    if name[:1].isalpha() or name[:1] in ("_", '"'):
        yield name
