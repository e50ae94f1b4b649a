"""The triggers of a table whose functions this login should not run."""

from __future__ import annotations

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.catalog import TableName
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

# A trigger whose function belongs to none of: this login, its role, the owner of the table, a superuser.
_UNTRUSTED_TRIGGER = """
SELECT g.tgname, f.rolname
FROM pg_trigger g
JOIN pg_class c ON c.oid = g.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_roles f ON f.oid = p.proowner
WHERE n.nspname = %s AND c.relname = %s AND NOT g.tgisinternal
  AND NOT f.rolsuper AND f.rolname NOT IN (session_user, current_user) AND f.oid <> c.relowner
"""


def refuse_untrusted_triggers(connection: Connection, name: TableName) -> None:
    """Raise InputError if an insert would run another role's code with the rights of this login."""
    for row in query_catalog(connection, _UNTRUSTED_TRIGGER, (name.schema, name.table)):
        raise InputError(
            f"the trigger {row[0]} on {name.schema}.{name.table} runs a function of {row[1]} with this login's rights",
            f"See the trigger in psql: \\d {name.schema}.{name.table}; then drop it, or make the owner of the table "
            "the owner of the function.",
        )
