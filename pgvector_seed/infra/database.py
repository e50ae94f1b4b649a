"""A pgvector database as one component: the extension, the owner, the migrations, then the other roles' rights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.common.errors import Error
from pgvector_seed.infra import policy
from pgvector_seed.infra.address import Address
from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.grants import GrantScope, Rights
from pgvector_seed.infra.indexes import Indexes
from pgvector_seed.infra.migrations import Migrations
from pgvector_seed.infra.preflight import enable, refuse_role
from pgvector_seed.infra.provider import ServerAccess
from pgvector_seed.infra.reader_settings import ReaderSettings
from pgvector_seed.infra.state import refuse_missing_tables_early
from pgvector_seed.infra.tables import declarations
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, load
from pgvector_seed.postgres.conninfo import as_role
from pgvector_seed.vectors.extension import EXTENSION

COMPONENT_TYPE = "pgvector-seed:index:VectorDatabase"


class VectorDatabase(pulumi.ComponentResource):
    """A database with pgvector enabled and its migrations applied.

    ``contract`` is the deployment's contract as JSON data. ``passwords`` maps "writer" and "reader" to their
    passwords, if the stack creates these roles.
    """

    contract: pulumi.Output[dict[str, Any]]
    passwords: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, args: VectorDatabaseArgs | None = None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        args = args or VectorDatabaseArgs()
        super().__init__(COMPONENT_TYPE, name, {}, opts)
        directory = _as_relative(Path(args.migrations))
        files = _load(directory)
        server = ServerAccess(
            name,
            args.connection,
            args.password,
            lambda address: _check(args, address, files),
            pulumi.ResourceOptions(parent=self),
            superuser=args.superuser,
            owner=args.roles.owner.name if args.roles else None,
        )
        # Retained tables need the extension and the roles; dropping the owner would drop the grants on its tables.
        retain = args.on_destroy == "retain"
        child = pulumi.ResourceOptions(parent=self, provider=server.provider, retain_on_delete=retain)
        extension = [_extension(name, server, child)] if args.create_extension else []
        rights = _rights(name, args, server, child)
        ready = [*extension, *(rights.declared if rights else ())]
        # Before the migrations, which record the declaration: the ledger still has the settings of the last one.
        settings = ReaderSettings(
            f"{name}-reader-settings",
            conninfo=server.owners_conninfo,
            roles=_role_names(args),
            settings=args.reader_settings,
            opts=pulumi.ResourceOptions(parent=self, depends_on=ready, retain_on_delete=retain),
        )
        declaration = server.address.apply(lambda address: _declaration(args, address))
        migrations = Migrations(
            f"{name}-migrations",
            conninfo=server.owners_conninfo,
            directory=str(directory),
            migrations=files,
            declaration=declaration,
            options=args.options,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*ready, settings]),
        )
        Indexes(
            f"{name}-indexes",
            conninfo=server.owners_conninfo,
            declaration=declaration,
            ledger=migrations.ledger,
            memory=args.index_memory,
            opts=pulumi.ResourceOptions(parent=self),
        )
        if rights:
            rights.declare_grants(migrations)
        self.contract = migrations.contract
        self.passwords = rights.passwords if rights else {}
        self.register_outputs({"contract": self.contract})


def _check(args: VectorDatabaseArgs, address: Address, migrations: Sequence[Migration]) -> None:
    """Raise pulumi.RunError for a violation of the policy, and for a declared table that nothing makes."""
    faults = list(policy.faults_of_address(address, args.on_destroy))
    is_known = args.password is None or isinstance(args.password, str)  # an Output is unknown at preview
    conninfo = address.conninfo(str(args.password or address.password)) if is_known else None
    if conninfo:
        faults += policy.faults_of_server(conninfo, args.roles, args.minimum_version)
    policy.enforce(args.policy, faults)
    if conninfo and args.tables:
        owner = args.roles.owner.name if args.roles else None
        refuse_missing_tables_early(as_role(conninfo, owner), _declaration(args, address), migrations)


def _extension(name: str, server: ServerAccess, opts: pulumi.ResourceOptions) -> postgresql.Extension:
    existing = pulumi.ResourceOptions(
        # An extension that exists stays in its schema and version: without this, the second `up` would move it.
        ignore_changes=["schema", "version"],
        hooks=server.before_create(f"{name}-preflight", lambda conninfo, _: enable(conninfo)),
    )
    return postgresql.Extension(
        f"{name}-extension",
        name=EXTENSION,
        database=server.database,
        schema="public",
        opts=pulumi.ResourceOptions.merge(opts, existing),
    )


def _rights(name: str, args: VectorDatabaseArgs, server: ServerAccess, opts: pulumi.ResourceOptions) -> Rights | None:
    """Declare the roles and the owner's rights. Returns None if the stack has no roles."""
    if args.roles is None:
        return None
    scope = GrantScope(name, server.database, args.schema, server.login, superuser=args.superuser)
    rights = Rights(args.roles, scope, opts)
    rights.declare_roles(server.before_create(f"{name}-no-such-role", refuse_role))
    return rights


def _as_relative(directory: Path) -> Path:
    """Return the folder relative to the current one, in which the provider's process runs, too.

    With an absolute path in the state, an ``up`` on another machine would be a change, and a destroy would find no
    files.
    """
    return Path(os.path.relpath(directory.resolve(), Path.cwd())) if directory.is_absolute() else directory


def _load(directory: Path) -> list[Migration]:
    if not directory.is_dir():
        raise pulumi.RunError(
            f"migrations: no folder {directory} in {Path.cwd()}, where the program runs. "
            "Name the folder relative to that one: VectorDatabaseArgs(migrations=...)"
        )
    try:
        return load(directory)
    except Error as error:
        raise pulumi.RunError(str(error)) from error


def _role_names(args: VectorDatabaseArgs) -> dict[str, str]:
    return {kind: role.name for kind, role in args.roles.by_kind().items()} if args.roles else {}


def _declaration(args: VectorDatabaseArgs, address: Address) -> Declaration:
    return Declaration(
        schema=args.schema,
        on_destroy=args.on_destroy,
        minimum_version=args.minimum_version,
        connection=address.declared(),
        tables=declarations(args.tables),
        roles=_role_names(args),
        reader_settings=dict(args.reader_settings),
    )
