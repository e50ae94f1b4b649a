"""The sequence that generates a column's values."""

from __future__ import annotations

from typing import NamedTuple

from pgvector_seed.postgres.connection import Connection

# The sequence of an identity column, or the one whose plain nextval() is the default of the column.
_SEQUENCE = """
SELECT c.oid, n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
       has_sequence_privilege(c.oid, 'SELECT'), pg_get_userbyid(c.relowner),
       has_sequence_privilege(c.oid, 'UPDATE'), has_sequence_privilege(c.oid, 'USAGE'),
       pg_has_role(c.relowner, 'USAGE'), c.relpersistence = 'u'
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT objid FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND deptype = 'i'
                  AND refobjid = %(table)s AND refobjsubid = %(column)s
                UNION ALL
                SELECT d.refobjid FROM pg_depend d
                JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
                WHERE a.adrelid = %(table)s AND a.adnum = %(column)s
                  AND pg_get_expr(a.adbin, a.adrelid) LIKE 'nextval(%%::regclass)')
"""


class Sequence(NamedTuple):
    """A sequence. ``may_read`` and so on are True if this login may read its last value, set it, advance it, alter it.

    ``unlogged`` is True if a crash resets it.
    """

    oid: int
    schema: str
    name: str
    increment: int
    minimum: int
    maximum: int
    cycles: bool
    may_read: bool
    owner: str
    may_set: bool
    may_advance: bool
    may_alter: bool
    unlogged: bool


def find_sequence(connection: Connection, table: int, column: int) -> Sequence | None:
    """Return the sequence of a column, by the table's oid and the column's number, or None."""
    row = connection.execute(_SEQUENCE, {"table": table, "column": column}).fetchone()
    return Sequence(*row) if row else None
