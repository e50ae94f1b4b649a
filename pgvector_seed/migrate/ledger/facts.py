"""What the catalog knows of the ledger. It is asked once, and never the ledger itself."""

from __future__ import annotations

from importlib.resources import files

import msgspec
from psycopg.rows import class_row

from pgvector_seed.postgres.connection import Connection

SCHEMA = "pgvector_seed"  # and its tables
RELATIONS = ("deployment", "migrations")


class Facts(msgspec.Struct, frozen=True):
    """The schema ``pgvector_seed`` as the catalog has it, and who asks.

    ``exists`` is False if nothing is in the schema, and ``owner`` None if there is no schema. ``role`` is the one that
    ``login`` has taken on, or the login itself. A ``stranger`` owns any of it, and is neither of the two, nor a
    superuser, nor the owner of the database. ``columns`` are those of ordinary tables, each as "table column type".
    ``runs_when_read`` and ``runs_when_written`` say if anybody's code would run then.
    """

    exists: bool
    owner: str | None
    role: str
    login: str
    login_is_superuser: bool
    stranger: str | None
    stranger_can_log_in: bool
    columns: list[str]
    runs_when_read: bool
    runs_when_written: bool


def find_facts(connection: Connection) -> Facts:
    """Return what the catalog knows of the ledger. Call it under ``catalog_snapshot``."""
    query = files(__package__).joinpath("facts.sql").read_bytes()
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        facts = cursor.execute(query).fetchone()
    assert facts is not None, "it is one row"
    return facts
