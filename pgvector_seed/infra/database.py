"""A pgvector database as one component: the extension, the owner, the migrations, then everybody's rights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.common.errors import Error
from pgvector_seed.infra import policy
from pgvector_seed.infra.address import Address
from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.grants import Rights, Scope
from pgvector_seed.infra.migrations import Migrations
from pgvector_seed.infra.preflight import enable, refuse_role
from pgvector_seed.infra.provider import ServerAccess
from pgvector_seed.migrate.contract import TableDeclaration
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, load
from pgvector_seed.vectors.extension import EXTENSION

COMPONENT_TYPE = "pgvector-seed:index:VectorDatabase"


class VectorDatabase(pulumi.ComponentResource):
    """A database with pgvector enabled and its tables made.

    ``contract`` is what it promises. ``passwords`` maps writer and reader to their passwords, where the stack
    makes these roles.
    """

    contract: pulumi.Output[dict[str, Any]]
    passwords: dict[str, pulumi.Output[str]]

    def __init__(
        self, name: str, args: VectorDatabaseArgs | None = None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        args = args or VectorDatabaseArgs()
        super().__init__(COMPONENT_TYPE, name, {}, opts)
        server = ServerAccess(
            name,
            args.connection,
            args.password,
            lambda address: _judge(args, address),
            pulumi.ResourceOptions(parent=self),
            superuser=args.superuser,
            owner=args.roles.owner.name if args.roles else None,
        )
        # What is kept needs the extension and the roles; to drop an owner takes the grants on its tables along.
        retain = args.on_destroy == "retain"
        kept = pulumi.ResourceOptions(parent=self, provider=server.provider, retain_on_delete=retain)
        extension = [_extension(name, server, kept)] if args.create_extension else []
        rights = _rights(name, args, server, kept)
        directory = _as_relative(Path(args.migrations))
        migrations = Migrations(
            f"{name}-migrations",
            conninfo=server.owners_conninfo,
            directory=str(directory),
            migrations=_load(directory),
            declaration=server.address.apply(lambda found: _declaration(args, found)),
            options=args.options,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*extension, *(rights.declared if rights else ())]),
        )
        if rights:
            rights.declare_grants(migrations)
        self.contract = migrations.contract
        self.passwords = rights.passwords if rights else {}
        self.register_outputs({"contract": self.contract})


def _judge(args: VectorDatabaseArgs, address: Address) -> None:
    faults = list(policy.faults_of_address(address, args.on_destroy))
    if args.password is None or isinstance(args.password, str):  # or it is known too late for a preview
        conninfo = address.conninfo(args.password or address.password)
        faults += policy.faults_of_server(conninfo, args.roles, args.minimum_version)
    policy.enforce(args.policy, faults)


def _extension(name: str, server: ServerAccess, opts: pulumi.ResourceOptions) -> postgresql.Extension:
    mine = pulumi.ResourceOptions(
        # One that somebody made before is used where it is and as it is: with these two watched, the
        # second `up` would move it.
        ignore_changes=["schema", "version"],
        hooks=server.before_create(f"{name}-preflight", lambda conninfo, _: enable(conninfo)),
    )
    return postgresql.Extension(
        f"{name}-extension",
        name=EXTENSION,
        database=server.database,
        schema="public",
        opts=pulumi.ResourceOptions.merge(opts, mine),
    )


def _rights(name: str, args: VectorDatabaseArgs, server: ServerAccess, opts: pulumi.ResourceOptions) -> Rights | None:
    """The roles and what their owner needs, declared; None where the stack has none."""
    if args.roles is None:
        return None
    place = Scope(name, server.database, args.schema, server.login, superuser=args.superuser)
    rights = Rights(args.roles, place, opts)
    rights.declare_roles(server.before_create(f"{name}-no-such-role", refuse_role))
    return rights


def _as_relative(directory: Path) -> Path:
    """Return the folder relative to the one that the program and, after it, the provider's process run in.

    The state must not hold one machine's paths: with another's, the next ``up`` there would be a change, and a
    destroy would find no files.
    """
    return Path(os.path.relpath(directory.resolve(), Path.cwd())) if directory.is_absolute() else directory


def _load(directory: Path) -> list[Migration]:
    if not directory.is_dir():
        raise pulumi.RunError(
            f"migrations: there is no folder {directory} in {Path.cwd()}, where the program runs. "
            "Name it relative to that one: VectorDatabaseArgs(migrations=...)"
        )
    try:
        return load(directory)
    except Error as error:
        raise pulumi.RunError(str(error)) from error


def _declaration(args: VectorDatabaseArgs, address: Address) -> Declaration:
    return Declaration(
        schema=args.schema,
        on_destroy=args.on_destroy,
        minimum_version=args.minimum_version,
        connection=address.declared(),
        tables=msgspec.convert(dict(args.tables), dict[str, TableDeclaration]),
        roles={kind: role.name for kind, role in args.roles.by_kind().items()} if args.roles else {},
    )
