"""Reasons why a table cannot be loaded, or is loaded slowly, found before the first block."""

from __future__ import annotations

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.postgres.triggers import refuse_untrusted_triggers

_ROW_SECURITY = "SELECT row_security_active(%s::oid)"
_INDEXES = """
SELECT x.relname, m.amname
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
JOIN pg_opclass o ON o.oid = i.indclass[0]
WHERE i.indrelid = %s AND i.indkey[0] = %s AND m.amname <> 'btree'
ORDER BY 1
"""


def refuse_unloadable(connection: Connection, target: Target) -> None:
    """Raise InputError if row security holds for this login, which COPY cannot obey, or a trigger is untrusted."""
    refuse_untrusted_triggers(connection, target.name)
    with catalog_snapshot(connection):
        row = connection.execute(_ROW_SECURITY, (target.oid,)).fetchone()
    if row == (True,):
        raise InputError(
            f"row security is on for {target.shown}, and COPY cannot load under it",
            f"Load as {target.owner}, its owner (unless it is forced), or as a role with BYPASSRLS.",
        )


def vector_indexes(connection: Connection, target: Target) -> list[str]:
    """Return a note for each vector index that the load must keep up to date."""
    with catalog_snapshot(connection):
        rows = connection.execute(_INDEXES, (target.oid, target.vector.number)).fetchall()
    return [
        f"the {method} index {name} is there before the data: a load is about 4 times as fast if it is built afterwards"
        for name, method in rows
    ]
