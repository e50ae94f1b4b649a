"""Facts about the ledger's tables, from the system catalog alone: reading an untrusted table could run its code."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

SCHEMA = "pgvector_seed"
RELATIONS = ("deployment", "migrations")  # its tables


class LedgerFacts(msgspec.Struct, frozen=True):
    """The schema ``pgvector_seed`` in the system catalog, and the roles of this session.

    ``exists`` is False if the schema holds no relation; ``owner`` is None if there is no schema. ``role`` is the
    current_user, ``login`` the session_user. ``untrusted_owner`` owns the schema or a relation in it, and is neither
    ``role``, ``login``, a superuser nor the owner of the database. ``columns`` lists the columns of ordinary tables as
    "table column type". ``runs_when_read`` and ``runs_when_written`` are True if that would run user-defined code.
    """

    exists: bool
    owner: str | None
    role: str
    login: str
    login_is_superuser: bool
    untrusted_owner: str | None
    untrusted_owner_can_log_in: bool
    columns: list[str]
    runs_when_read: bool
    runs_when_written: bool


def read_facts(connection: Connection) -> LedgerFacts:
    """Return the facts about the ledger; in a ``catalog_snapshot``, those of that snapshot."""
    query = files(__package__).joinpath("facts.sql").read_bytes()
    return LedgerFacts(*query_catalog(connection, query)[0])
