"""What must hold before the extension or a role is created, said in words that tell what to do."""

from __future__ import annotations

from postgres.catalogue import EXTENSION, extension
from postgres.connection import connect, nothing_on_path
from postgres.errors import InputError, translated

_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = %s)"


_ROLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s)"


def preflight(conninfo: str) -> None:
    """Raise unless the server can be reached, is of a supported version, and has pgvector installed."""
    with connect(conninfo) as connection, translated("looking for pgvector"):
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


def refuse_role(conninfo: str, name: str) -> None:
    """Raise InputError where the role is there already: the server would only say that it exists."""
    with connect(conninfo) as connection, translated("looking for the roles"), nothing_on_path(connection):
        row = connection.execute(_ROLE, (name,)).fetchone()
    if row is not None and row[0]:
        raise InputError(
            f"the role {name} is there, and the stack's state does not know it",
            "If this stack made it, take it over: pulumi up --config importRoles=true; then pulumi config rm "
            "importRoles. If it is somebody else's, name another one, or use it as it is: {existing: NAME}.",
        )
