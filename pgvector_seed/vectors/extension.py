"""The vector extension of a database."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

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


def find_extension(connection: Connection) -> Extension | None:
    """Return the vector extension of this database, or None if it is not enabled."""
    rows = query_catalog(connection, _EXTENSION, (EXTENSION,))
    return Extension(*rows[0]) if rows else None


def available_version(connection: Connection) -> str | None:
    """Return the version of pgvector that CREATE or ALTER EXTENSION would install, or None if the server has none."""
    rows = query_catalog(connection, _AVAILABLE, (EXTENSION,))
    return rows[0][0] if rows else None


def is_older(version: str, minimum: str) -> bool:
    """Return True if ``version``, such as 0.8.0, is lower than ``minimum``."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]+", version)]


def require_extension(connection: Connection) -> Extension:
    """Return the vector extension of this database. Raises InputError if it is not enabled."""
    extension = find_extension(connection)
    if extension is None:
        raise not_enabled()
    return extension


def not_enabled() -> InputError:
    """Return the error of a database without the vector extension."""
    return InputError(
        "the extension vector is not enabled in this database",
        "Enable it, as a superuser if need be: CREATE EXTENSION vector",
    )
