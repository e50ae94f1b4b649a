"""Reasons why a table cannot be loaded, or only slowly, checked before the first block."""

from __future__ import annotations

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.postgres.triggers import refuse_untrusted_triggers
from pgvector_seed.vectors.indexes import indexes_on_column

_ROW_SECURITY = "SELECT row_security_active(%s::oid)"


def refuse_unloadable(connection: Connection, target: Target) -> None:
    """Raise InputError if row security holds for this login, which COPY cannot obey, or a trigger is untrusted."""
    refuse_untrusted_triggers(connection, target.name)
    if query_catalog(connection, _ROW_SECURITY, (target.oid,)) == [(True,)]:
        raise InputError(
            f"row security is on for {target.shown}, and COPY cannot load under it",
            f"Load as {target.owner}, its owner (unless it is forced), or as a role with BYPASSRLS.",
        )


def vector_indexes(connection: Connection, target: Target) -> list[str]:
    """Return a note for each vector index that the load must keep up to date."""
    return [
        f"the {index.method} index {index.name} exists before the data: "
        "a load is several times as fast if it is built afterwards"
        for index in indexes_on_column(connection, target.oid, target.vector.number)
    ]
