"""Checks of the server and its roles before anything is created there, and the creation of the extension."""

from __future__ import annotations

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import IN_CHECKOUT, in_checkout, setting
from pgvector_seed.infra.process import report
from pgvector_seed.migrate.lock import locked
from pgvector_seed.postgres.catalog import role_exists
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import is_connection_lost, one_line, translated
from pgvector_seed.postgres.pooler import refuse_pooler
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION, available_version, find_extension

_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"

_AS_IT_IS = "{existing: NAME}" if IN_CHECKOUT else "Role(NAME, existing=True)"
_TAKE_OVER = (
    "pulumi up --config importRoles=true; then pulumi config rm importRoles"
    if IN_CHECKOUT
    else "Roles(..., import_existing=True), for one pulumi up"
)


def preflight(conninfo: str) -> None:
    """Raise an Error unless the server is reached without a pooler, is supported, and pgvector is or can be enabled.

    Managed services differ in the roles that may enable it, so CREATE EXTENSION is tried, and rolled back.
    """
    with connect(conninfo) as connection, translated("looking for pgvector"):
        refuse_pooler(connection)
        if _is_missing(connection) and query_catalog(connection, _SUPERUSER) != [(True,)]:
            with locked(connection, report), connection.transaction(force_rollback=True):
                _create(connection)


def enable(conninfo: str) -> None:
    """Create the extension if it is missing, under the migration lock.

    Concurrent CREATE EXTENSION IF NOT EXISTS fail, and the provider, which would create it next, takes no lock.
    """
    with connect(conninfo) as connection, translated("enabling pgvector"), locked(connection, report):
        if _is_missing(connection):
            _create(connection)


def refuse_role(conninfo: str, name: str) -> None:
    """Raise InputError with the remedies if the role exists already."""
    with connect(conninfo) as connection, translated("looking for the roles"), locked(connection, report):
        exists = role_exists(connection, name)
    if exists:
        raise InputError(
            f"the role {name} exists already, and is not in the stack's state",
            f"Name another role, or use this one as it is: {_AS_IT_IS}. If this stack created it, take it over: "
            f"{_TAKE_OVER}.",
        )


def _is_missing(connection: Connection) -> bool:
    """Return True if the extension is not enabled. Raises InputError if it is not installed on the server."""
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


def _create(connection: Connection) -> None:
    try:
        connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(sql.Identifier(EXTENSION)))
    except psycopg.Error as error:
        if is_connection_lost(error):
            raise
        raise InputError(
            f"this login cannot enable pgvector: {one_line(error)}",
            f"As a role that may, run in this database: CREATE EXTENSION {EXTENSION}; then "
            f"{setting('createExtension', 'false')}" + in_checkout(". docs/managed-servers.md names these roles"),
        ) from error
