"""What must hold before anything is created, said in words that tell what to do; and the extension itself."""

from __future__ import annotations

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import OWN_PROGRAM, in_checkout, setting
from pgvector_seed.infra.migrations import report
from pgvector_seed.migrate.lock import locked
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import is_connection_lost, one_line, translated
from pgvector_seed.postgres.pooler import refuse_pooler
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.extension import EXTENSION, available_version, find_extension

_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_ROLE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"

_AS_IT_IS = "{existing: NAME}" if OWN_PROGRAM else "Role(NAME, existing=True)"
_TAKE_OVER = (
    "pulumi up --config importRoles=true; then pulumi config rm importRoles"
    if OWN_PROGRAM
    else "Roles(..., import_existing=True), for one pulumi up"
)


def preflight(conninfo: str) -> None:
    """Raise unless the server itself is reached, is of a supported version, and has pgvector or lets us enable it.

    Each service has its own rule for who may, and only trying tells. Nothing is left of it.
    """
    with connect(conninfo) as connection, translated("looking for pgvector"):
        refuse_pooler(connection)
        if _is_missing(connection) and not _asked(connection, _SUPERUSER):
            with locked(connection, report), connection.transaction(force_rollback=True):
                _create(connection)


def enable(conninfo: str) -> None:
    """Make the extension unless it is there, one deployment at a time.

    Two CREATE EXTENSION at once collide, also with IF NOT EXISTS, and the provider, which comes after, takes no lock.
    """
    with connect(conninfo) as connection, translated("enabling pgvector"), locked(connection, report):
        if _is_missing(connection):
            _create(connection)


def refuse_role(conninfo: str, name: str) -> None:
    """Raise InputError where the role is there already: the server would only say that it exists."""
    with connect(conninfo) as connection, translated("looking for the roles"), locked(connection, report):
        there = _asked(connection, _ROLE, name)
    if there:
        raise InputError(
            f"the role {name} is there, and the stack's state does not know it",
            f"If it is somebody else's, name another one, or use it as it is: {_AS_IT_IS}. If this stack made it, take "
            f"it over: {_TAKE_OVER}.",
        )


def _is_missing(connection: Connection) -> bool:
    """True when the extension is not enabled. Raises InputError where it cannot be."""
    if find_extension(connection) is not None:
        return False
    if available_version(connection) is None:
        major = connection.info.server_version // 10000
        raise InputError(
            f"the server at {connection.info.host}:{connection.info.port} has no pgvector installed",
            f"Install it there: the package postgresql-{major}-pgvector (Debian, Ubuntu) or pgvector_{major} "
            f"(Red Hat), or use the image pgvector/pgvector:pg{major}",
        )
    return True


def _asked(connection: Connection, query: str, *values: str) -> bool:
    with catalog_snapshot(connection):
        row = connection.execute(query.encode(), values).fetchone()
    return row is not None and bool(row[0])


def _create(connection: Connection) -> None:
    try:
        connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(sql.Identifier(EXTENSION)))
    except psycopg.Error as error:
        if is_connection_lost(error):
            raise
        raise InputError(
            f"this login cannot enable pgvector: {one_line(error)}",
            f"Have somebody who may run, once, in this database: CREATE EXTENSION {EXTENSION}; and say that it is "
            f"there: {setting('createExtension', 'false')}"
            + in_checkout(". Who may is told in docs/managed-servers.md"),
        ) from error
