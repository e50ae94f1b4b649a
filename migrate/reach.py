"""What a statement would reach outside of the scratch schema in which migrations are compared.

It is looked for in the statement's own words before it runs, so that no real table is locked or
changed; what the words do not tell, such as a DO block, shows afterwards in the transaction's locks.
"""

from __future__ import annotations

from collections.abc import Iterator

from migrate.statements import Statement
from postgres.connection import Connection

# The word behind one of these names a relation, or is no relation's name.
_BEFORE_A_NAME = {"ON", "ONLY", "REFERENCES", "OF", "LIKE", "INHERITS"}
_BEFORE_ITS_OWN = {"TABLE", "VIEW", "SEQUENCE", "INDEX", "EXISTS", "TRUNCATE", "LOCK", "CONCURRENTLY"}
_ROWS_ONLY = ("INSERT", "SELECT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH", "SET")
_IN_NO_SCHEMA = {
    *("ACCESS", "CAST", "DATABASE", "EVENT", "GROUP", "LANGUAGE", "PUBLICATION", "ROLE", "SCHEMA", "SERVER"),
    *("SUBSCRIPTION", "SYSTEM", "TABLESPACE", "TRANSFORM", "USER"),
}

_OUTSIDE = """
SELECT c.oid::regclass::text
FROM pg_catalog.unnest(%s::text[]) AS given(name)
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(given.name)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
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
  AND n.nspname <> %s AND n.nspname NOT LIKE 'pg\\_%%'
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
    if words[0] in ("CREATE", "ALTER", "DROP") and words[1:2] and words[1] in _IN_NO_SCHEMA:
        return f"what is in no schema ({words[0]} {words[1]})"
    if moves_rows_only(statement):
        return ""
    row = connection.execute(_OUTSIDE, (list(_names(statement)), scratch)).fetchone()
    return row[0] if row else ""


def has_reached(connection: Connection, scratch: str) -> str:
    """What the transaction has reached outside of the scratch schema; "" when nothing."""
    row = connection.execute(_REACHED, (scratch,)).fetchone()
    return row[0] if row else ""


def _names(statement: Statement) -> Iterator[str]:
    """The names, with their schemas, that stand where a relation's name may stand; what is created is none yet."""
    words, tokens = statement.words, statement.tokens
    before = _BEFORE_A_NAME if words[0] == "CREATE" else _BEFORE_A_NAME | _BEFORE_ITS_OWN
    for place in range(1, len(tokens)):
        behind = words[place - 1] in before or (words[0] in ("DROP", "TRUNCATE", "LOCK") and words[place - 1] == ",")
        if not behind and not (words[place - 1] == "(" and words[place - 2] in before):
            continue
        end = place + 1
        while words[end : end + 1] == ["."]:
            end += 2
        name = "".join(tokens[place:end])
        if name[0].isalpha() or name[0] in '_"':
            yield name
