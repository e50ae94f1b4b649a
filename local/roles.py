"""The roles on this folder's own server, and acting as the one that owns the deployment there.

A superuser's session that acts as a role is a superuser's again after RESET ROLE, which code in another role's ledger
could run. So the catalog alone is not trusted: the stack's configuration or Pulumi's state must name the owner.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from local.workspace import Workspace
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.ledger.facts import read_facts
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import as_role
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog


def find_roles() -> set[str]:
    """Return the names of all roles of the server."""
    with connect() as connection, translated("looking for roles"):
        return {name for (name,) in query_catalog(connection, "SELECT rolname FROM pg_roles")}


def find_owner(workspace: Workspace) -> str | None:
    """Return the owner of the ledger. None if that is the login, there is no ledger, or the server is not our own."""
    if workspace.server is None:
        return None
    with connect() as connection, translated("looking for the ledger's owner"):
        facts = read_facts(connection)
    return None if facts.owner == facts.login else facts.owner


def owners_conninfo(workspace: Workspace, in_state: str | None = None) -> str:
    """Return the conninfo that makes a session act as the deployment's owner, or "" if that is the login.

    ``in_state`` is the owner that Pulumi's state names. Raises RefusedError if the ledger belongs to a role that
    neither the state nor the configuration names.
    """
    owner = find_owner(workspace)
    if owner is None:
        return ""
    if owner not in (in_state, workspace.declared_owner()):
        raise RefusedError(
            f"the ledger in the schema pgvector_seed belongs to {owner}, which is not the owner that the stack names",
            f'If it should be: eval "$(make env)"; pulumi config set --path roles.owner {shlex.quote(owner)}. If not, '
            "see in psql who made it (\\dn+ pgvector_seed, \\d pgvector_seed.*) before you drop it or use it.",
        )
    return as_role("", owner)


def owners_ledger(workspace: Workspace, in_state: str | None = None) -> Ledger | None:
    """Read the ledger with the rights of the deployment's owner. Raises RefusedError as ``owners_conninfo`` does."""
    with connect(owners_conninfo(workspace, in_state)) as connection, translated("reading the ledger"):
        return read_ledger(connection)


def owners_contract(workspace: Workspace) -> dict[str, Any]:
    """Return the recorded contract. Raises InputError if there is none."""
    ledger = owners_ledger(workspace)
    if ledger is None or not ledger.contract:
        raise InputError("this database keeps no contract", "Run: make up")
    return ledger.contract


def owners_environment(workspace: Workspace) -> Mapping[str, str]:
    """Return the environment that makes a command act as the deployment's owner."""
    options = conninfo_to_dict(owners_conninfo(workspace))
    return {**workspace.environment(), **({"PGOPTIONS": str(options["options"])} if options else {})}
