"""What a statement would reach outside of the scratch schema in which migrations are compared.

It is looked for in the statement's own words before it runs, so that no real table is locked or
changed; what the words do not tell, such as a DO block, shows afterwards in the transaction's locks.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.postgres.connection import Connection

# The word behind one of these names a relation, or is no relation's name.
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

_OUTSIDE = """
SELECT n.nspname || '.' || given.name
FROM pg_catalog.unnest(%s::text[]) AS given(name)
LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given.name)
LEFT JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.to_regtype(given.name) AND %s
LEFT JOIN pg_catalog.pg_proc p ON p.oid = pg_catalog.to_regproc(given.name) AND %s
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace, p.pronamespace)
WHERE n.nspname <> %s AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
LIMIT 1
"""
# What this transaction has locked of others' relations, other than to read them, and every other schema in
# which it made or tried to make something.
_REACHED = """
SELECT CASE l.locktype WHEN 'object' THEN 'the schema ' || l.objid::regnamespace::text
                       ELSE l.relation::regclass::text END
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, l.objid)
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND n.nspname <> %s AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND (l.locktype = 'object' AND l.classid = 'pg_catalog.pg_namespace'::regclass
       OR l.locktype = 'relation' AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
LIMIT 1
"""


def moves_rows_only(statement: Statement) -> bool:
    """True for what makes no object by itself."""
    return statement.words[0] in _ROWS_ONLY


def would_reach(connection: Connection, statement: Statement, scratch: str) -> str:
    """What the statement names outside of the scratch schema, or makes in no schema; "" when nothing."""
    words = statement.words
    if words[:2] == ["DROP", "EXTENSION"] or (words[0] in ("CREATE", "ALTER", "DROP") and words[1] in _IN_NO_SCHEMA):
        return f"what is in no schema ({words[0]} {words[1]})"
    drops = words[0] == "DROP"  # what else there is of that name, types and routines, can be dropped as well
    row = connection.execute(_OUTSIDE, (list(_names(statement)), drops, drops, scratch)).fetchone()
    return row[0] if row else ""


def has_reached(connection: Connection, scratch: str) -> str:
    """What the transaction has reached outside of the scratch schema; "" when nothing."""
    row = connection.execute(_REACHED, (scratch,)).fetchone()
    return row[0] if row else ""


def _names(statement: Statement) -> Iterator[str]:
    """The names, with their schemas, that stand where a relation's name may stand; what is created is none yet."""
    words = statement.words
    if moves_rows_only(statement):
        written = {"INSERT": "INTO", "MERGE": "INTO", "DELETE": "FROM", "UPDATE": "UPDATE"}.get(words[0])
        if written:
            yield from _name_at(statement, words.index(written) + 1)
        return
    before = _BEFORE_A_NAME if words[0] == "CREATE" else _BEFORE_A_NAME | _BEFORE_ITS_OWN
    before |= {","} if words[0] in ("DROP", "TRUNCATE", "LOCK") else set()
    before |= {"TO"} if words[:2] == ["CREATE", "RULE"] else set()
    for place in range(1, len(words)):
        if words[place - 1] in before or (words[place - 2], words[place - 1]) in _TWO_BEFORE_A_NAME:
            yield from _name_at(statement, place)


def _name_at(statement: Statement, place: int) -> Iterator[str]:
    end = place + 1
    while statement.words[end : end + 1] == ["."]:
        end += 2
    name = "".join(statement.tokens[place:end])
    if name[:1].isalpha() or name[:1] in ("_", '"'):
        yield name
