"""The vector extension of a database."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot

EXTENSION = "vector"

_EXTENSION = """
SELECT n.nspname, e.extversion
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = %s
"""

_AVAILABLE = "SELECT default_version FROM pg_available_extensions WHERE name = %s"


@dataclass(frozen=True)
class Extension:
    """The vector extension as it is installed in a database."""

    schema: str
    version: str


def extension(connection: Connection) -> Extension | None:
    """The vector extension of this database, or None where it is not enabled."""
    with catalog_snapshot(connection):
        row = connection.execute(_EXTENSION, (EXTENSION,)).fetchone()
    return Extension(*row) if row else None


def available_version(connection: Connection) -> str | None:
    """The version of pgvector that CREATE EXTENSION, or its UPDATE, would bring; None where none is installed."""
    with catalog_snapshot(connection):
        row = connection.execute(_AVAILABLE, (EXTENSION,)).fetchone()
    return row[0] if row else None


def is_older(version: str, minimum: str) -> bool:
    """True when the one version, such as 0.8.0, comes before the other."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def require_extension(connection: Connection) -> Extension:
    """The same; InputError where it is not enabled."""
    found = extension(connection)
    if found is None:
        raise InputError(
            "the extension vector is not enabled in this database",
            "Enable it, as a superuser where it must be: CREATE EXTENSION vector",
        )
    return found
