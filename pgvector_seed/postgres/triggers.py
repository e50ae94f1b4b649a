"""The triggers of a table and of its partitions whose functions this login should not run."""

from __future__ import annotations

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.catalog import TableName
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

# A trigger whose function belongs to none of: this login, its role, the owner of the table, a superuser.
_UNTRUSTED_TRIGGER = """
SELECT g.tgname, f.rolname, n.nspname, c.relname
FROM pg_class root
JOIN pg_namespace s ON s.oid = root.relnamespace
CROSS JOIN LATERAL (SELECT relid::oid FROM pg_partition_tree(root.oid) UNION SELECT root.oid) AS part
JOIN pg_class c ON c.oid = part.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_trigger g ON g.tgrelid = c.oid
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_roles f ON f.oid = p.proowner
WHERE s.nspname = %s AND root.relname = %s AND NOT g.tgisinternal
  AND NOT f.rolsuper AND f.rolname NOT IN (session_user, current_user) AND f.oid <> c.relowner
"""


def refuse_untrusted_triggers(connection: Connection, name: TableName) -> None:
    """Raise InputError if an insert would run another role's code with the rights of this login."""
    for trigger, owner, schema, table in query_catalog(connection, _UNTRUSTED_TRIGGER, (name.schema, name.table)):
        raise InputError(
            f"the trigger {trigger} on {schema}.{table} runs a function of {owner} with this login's rights",
            f"See the trigger in psql: \\d {schema}.{table}; then drop it, or make the owner of the table "
            "the owner of the function.",
        )
