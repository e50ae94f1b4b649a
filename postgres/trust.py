"""Whose ledger it is. What a stranger put into one, or upon it, would run with the rights of whoever uses it.

A login that may only create schemas could plant a ledger, with triggers, downs and indexes on expressions of its
own. That we may act as its owner says nothing, nor does who else may: anybody can grant us that, and leave a role
behind that nobody can become any more. So only names count: this login's, the role's that it was told to take on,
the database owner's. The catalogue is asked, never the ledger.
"""

from __future__ import annotations

import shlex

from postgres.connection import Connection, escaped_role, nothing_on_path
from postgres.errors import RefusedError

# Who owns the schema or anything in it, and is not this login, above it, or the owner of the database; whether that
# role can log in, and whether this login is a superuser.
_STRANGER = """
SELECT o.rolname, o.rolcanlogin, me.rolsuper
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
JOIN pg_catalog.pg_roles o ON o.oid IN (n.nspowner, c.relowner)
JOIN pg_catalog.pg_roles me ON me.rolname = session_user
WHERE n.nspname = 'pgvector_seed' AND NOT o.rolsuper AND o.rolname NOT IN (session_user, current_user)
  AND o.oid <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
LIMIT 1
"""
# What would run when the tables are only read, or planned to be.
_RUNS_CODE = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  WHERE n.nspname = 'pgvector_seed'
    AND (c.relkind NOT IN ('r', 'i') OR c.relrowsecurity OR c.relhasrules OR c.relhassubclass OR c.relispartition
         OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
         OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = c.oid)
         OR EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                      AND (a.attgenerated <> '' OR t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace))))
"""
_RUNS_ON_WRITING = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'pgvector_seed' AND NOT g.tgisinternal)
"""


def refuse_to_write(connection: Connection) -> None:
    """Raise RefusedError where the ledger belongs to a stranger, or has triggers, which are never ours."""
    with nothing_on_path(connection):
        row = connection.execute(_STRANGER).fetchone()
        if row is not None:
            raise _refused(row[0], can_log_in=row[1])
        if connection.execute(_RUNS_ON_WRITING).fetchone() != (False,):
            raise RefusedError(
                "the ledger in the schema pgvector_seed has a trigger, which would run with the rights of this login",
                "See who made it, in psql: \\d pgvector_seed.*; then drop it.",
            )


def refuse_to_read(connection: Connection) -> None:
    """Raise RefusedError where the ledger is a stranger's, and this is a superuser or something on it would run.

    What is looked at is the snapshot of the transaction that then reads. Still the stranger may add an index
    meanwhile, and be faster: that is why a superuser, who has everything to lose, is refused whatever is there.
    """
    row = connection.execute(_STRANGER).fetchone()
    if row is not None and (row[2] or connection.execute(_RUNS_CODE).fetchone() != (False,)):
        raise _refused(row[0], can_log_in=row[1])


def _refused(owner: str, *, can_log_in: bool) -> RefusedError:
    remedy = f"If {owner} is who deploys here, connect as {owner}; or have the schema and its tables given to you."
    if not can_log_in:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        remedy = (
            f"If {owner} is the owner that this deployment declares, act as it: PGOPTIONS={options} before the same "
            "command. To give all that it has here to another role, in psql: REASSIGN OWNED BY ... TO ..."
        )
    return RefusedError(f"the ledger in the schema pgvector_seed belongs to {owner}, and this login is another", remedy)
