"""Trust in the ledger. What a stranger put into it, or upon it, would run with the rights of its user.

A login that may only create schemas could plant a ledger, with triggers, downs and indexes on expressions of its
own. That we may act as its owner says nothing, nor does who else may: anybody can grant us that, and leave a role
behind that nobody can become any more. So only names count: this login's, the role's that it was told to take on,
the database owner's. The catalog is asked, never the ledger, and in the snapshot in which the ledger is then read.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import escaped_role

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
# Also the server's own triggers: they enforce a foreign key that refers to the ledger, whose table may have any.
_RUNS_ON_WRITING = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'pgvector_seed')
"""
# Who may write to the ledger beside its owners, their members and superusers: by a grant on a table or a column, or as
# a member of pg_write_all_data (NOINHERIT ones can SET ROLE to it). Those two are all ways that has_table_privilege
# knows. Names are quoted as SQL needs them. A right that another than the owner gave is revoked from the giver.
_WRITERS = """
WITH relations AS (
  SELECT c.oid, c.relowner, n.nspowner, c.relacl
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'pgvector_seed' AND c.relkind <> 'i'
), others AS (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r
  WHERE r.rolname <> 'pg_write_all_data'
    AND NOT EXISTS (SELECT FROM relations
                    WHERE pg_catalog.pg_has_role(r.oid, relowner, 'MEMBER')
                       OR pg_catalog.pg_has_role(r.oid, nspowner, 'MEMBER'))
  UNION ALL SELECT 0, 'PUBLIC'
), grants AS (
  SELECT g.*, relowner FROM relations CROSS JOIN LATERAL pg_catalog.aclexplode(relacl) g
  UNION ALL
  SELECT g.*, relowner FROM relations JOIN pg_catalog.pg_attribute a ON a.attrelid = relations.oid
  CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) g
)
SELECT CASE others.oid WHEN 0 THEN rolname ELSE pg_catalog.quote_ident(rolname) END,
       pg_catalog.bool_or(grants.grantee IS NOT NULL),
       coalesce(pg_catalog.bool_or(privilege_type IN ('REFERENCES', 'TRIGGER')), false),
       others.oid <> 0 AND pg_catalog.pg_has_role(others.oid, 'pg_write_all_data', 'MEMBER'),
       coalesce(pg_catalog.array_agg(DISTINCT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantor)))
                FILTER (WHERE grantor <> relowner), '{}')
FROM others
LEFT JOIN grants ON grantee = others.oid
  AND privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER')
WHERE grantee IS NOT NULL
   OR others.oid <> 0 AND pg_catalog.pg_has_role(others.oid, 'pg_write_all_data', 'MEMBER')
GROUP BY others.oid, rolname
ORDER BY rolname
"""


@dataclass(frozen=True)
class Writers:
    """Roles that may write to the ledger though they are not its owner's, as SQL quotes their names.

    ``granted`` were given a right on it, ``of_all_data`` are members of pg_write_all_data. ``triggers`` are those of
    the granted that may have a trigger run when it is written to. ``givers`` are others than the owner, with its
    GRANT OPTION, who gave a right.
    """

    granted: tuple[str, ...] = ()
    of_all_data: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    givers: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys((*self.granted, *self.of_all_data)))

    @property
    def revoke(self) -> str:
        """The SQL that takes the granted rights away."""
        rights = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA pgvector_seed"
        return f"REVOKE {rights} FROM {', '.join(dict.fromkeys((*self.granted, *self.givers)))} CASCADE"


def find_writers(connection: Connection) -> Writers:
    """Return the roles that may write to the ledger beside its owner. Call it under ``nothing_on_path``."""
    rows = connection.execute(_WRITERS).fetchall()
    return Writers(
        granted=tuple(name for name, granted, *_ in rows if granted),
        of_all_data=tuple(name for name, _, _, member, _ in rows if member),
        triggers=tuple(name for name, _, trigger, *_ in rows if trigger),
        givers=tuple(giver for *_, givers in rows for giver in givers),
    )


def refuse_to_write(connection: Connection, writers: Writers) -> None:
    """Raise RefusedError if the ledger is a stranger's, or has a trigger of anybody's, or may get one meanwhile."""
    row = connection.execute(_STRANGER).fetchone()
    if row is not None:
        raise _refused(row[0], can_log_in=row[1])
    if connection.execute(_RUNS_ON_WRITING).fetchone() != (False,):
        raise RefusedError(
            "the ledger in the schema pgvector_seed has a trigger, or a foreign key refers to it: another role's code "
            "would run with the rights of this login",
            "See who made it, in psql: \\d pgvector_seed.*; then drop it.",
        )
    if writers.triggers:
        raise RefusedError(
            f"{', '.join(writers.triggers)} may put a trigger on the ledger in the schema pgvector_seed, or a foreign "
            "key that refers to it, which would run with the rights of this login",
            f"In psql: {writers.revoke};",
        )


def refuse_to_read(connection: Connection) -> None:
    """Raise RefusedError if the ledger is a stranger's, and this is a superuser or something on it would run.

    The stranger may still add an index meanwhile, and be faster: that is why a superuser, who has everything to
    lose, is refused in any case.
    """
    row = connection.execute(_STRANGER).fetchone()
    if row is not None and (row[2] or connection.execute(_RUNS_CODE).fetchone() != (False,)):
        raise _refused(row[0], can_log_in=row[1])


class StrangersLedgerError(RefusedError):
    """The ledger belongs to another than this login, its role, a superuser or the owner of the database."""


def _refused(owner: str, *, can_log_in: bool) -> StrangersLedgerError:
    remedy = f"If {owner} is who deploys here, connect as {owner}; or have the schema and its tables given to you."
    if not can_log_in:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        remedy = (
            f"If {owner} is the owner that this deployment declares, act as it: PGOPTIONS={options} before the same "
            "command. To give all that it has here to another role, in psql: REASSIGN OWNED BY ... TO ..."
        )
    return StrangersLedgerError(
        f"the ledger in the schema pgvector_seed belongs to {owner}, and this login is another", remedy
    )
