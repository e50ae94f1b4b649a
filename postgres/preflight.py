"""What must hold before anything is created, said in words that tell what to do."""

from __future__ import annotations

from postgres.catalogue import EXTENSION, extension
from postgres.connection import connect, nothing_on_path
from postgres.errors import InputError, translated
from postgres.pooler import refuse_pooler

_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = %s)"


def preflight(conninfo: str) -> None:
    """Raise unless the server itself can be reached, is of a supported version, and has pgvector installed."""
    with connect(conninfo) as connection, translated("looking for pgvector"):
        refuse_pooler(connection)
        if extension(connection) is not None:
            return
        with nothing_on_path(connection):
            row = connection.execute(_AVAILABLE, (EXTENSION,)).fetchone()
        if row is None or not row[0]:
            major = connection.info.server_version // 10000
            raise InputError(
                f"the server at {connection.info.host}:{connection.info.port} has no pgvector installed",
                f"Install it there: the package postgresql-{major}-pgvector (Debian, Ubuntu) or pgvector_{major} "
                f"(Red Hat), or use the image pgvector/pgvector:pg{major}",
            )
