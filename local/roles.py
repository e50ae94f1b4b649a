"""The roles on this folder's own server, and acting as the one that owns the deployment there.

A superuser trusts nobody's ledger for being there (postgres/trust.py): whoever may create a schema could have planted
it. On the own server nobody else may. Its one login from the start is the superuser's, whose password is in this
folder, and all other roles are what that user's stack or that user made. So there the catalogue may say who the owner
is, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from psycopg.conninfo import conninfo_to_dict

from local.workspace import Workspace
from postgres.connection import as_role, connect, nothing_on_path
from postgres.errors import translated

_OWNER = """
SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace
WHERE nspname = 'pgvector_seed' AND pg_catalog.pg_get_userbyid(nspowner) <> session_user
"""


def find_roles() -> set[str]:
    """Return the names of all roles of the server."""
    return set(_names("SELECT rolname FROM pg_catalog.pg_roles"))


def find_owner(workspace: Workspace) -> str | None:
    """Return the role that has the ledger, or None if it is the login, or the server is not our own."""
    return next(iter(_names(_OWNER)), None) if workspace.server else None


def _names(query: LiteralString) -> list[str]:
    with connect() as connection, translated("looking for roles"), nothing_on_path(connection):
        return [name for (name,) in connection.execute(query)]


def owners_conninfo(workspace: Workspace) -> str:
    """Return how this process reaches the deployment with the rights of its owner."""
    owner = find_owner(workspace)
    return as_role("", owner) if owner else ""


def owners_environment(workspace: Workspace) -> Mapping[str, str]:
    """Return the environment in which a command reaches the deployment with the rights of its owner."""
    options = conninfo_to_dict(owners_conninfo(workspace))
    return {**workspace.environment(), **({"PGOPTIONS": str(options["options"])} if options else {})}
