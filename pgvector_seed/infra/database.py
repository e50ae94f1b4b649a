"""A pgvector database as one component: the extension, the owner, the migrations, then everybody's rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.common.errors import Error
from pgvector_seed.infra import policy
from pgvector_seed.infra.address import Address
from pgvector_seed.infra.grants import Rights, Scope
from pgvector_seed.infra.migrations import Migrations
from pgvector_seed.infra.preflight import enable, refuse_role
from pgvector_seed.infra.provider import ServerAccess
from pgvector_seed.infra.roles import Roles
from pgvector_seed.migrate.contract import Declaration
from pgvector_seed.migrate.files import Migration, load
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.vectors.extension import EXTENSION

COMPONENT_TYPE = "pgvector-seed:index:VectorDatabase"
MIGRATIONS = "migrations"  # the folder, relative to the one the program runs in


@dataclass(frozen=True)
class VectorDatabaseArgs:
    """What a VectorDatabase is made of.

    ``connection`` has libpq's names (host, port, dbname, user, sslmode and others); what it leaves out, and the
    password when it is None, libpq finds in the environment. ``create_extension`` is False where somebody else
    enables pgvector, ``superuser`` where the login is none. ``policy`` is policy.ENFORCE or policy.WARN. The rest
    is as in Declaration, ApplyOptions and Roles.
    """

    connection: Mapping[str, pulumi.Input[str]]
    password: pulumi.Input[str] | None = field(repr=False)
    schema: str
    on_destroy: str
    minimum_version: str
    tables: Mapping[str, Mapping[str, Any]]
    options: ApplyOptions = field(default_factory=ApplyOptions)
    create_extension: bool = True
    superuser: bool = True
    roles: Roles | None = None
    policy: str = policy.ENFORCE


class VectorDatabase(pulumi.ComponentResource):
    """A database with pgvector enabled and its tables made.

    ``contract`` is what it promises. ``passwords`` maps writer and reader to their passwords, where the stack
    makes these roles.
    """

    contract: pulumi.Output[dict[str, Any]]
    passwords: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: VectorDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
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
        migrations = Migrations(
            f"{name}-migrations",
            conninfo=server.owners_conninfo,
            directory=MIGRATIONS,
            migrations=_load(),
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


def _load() -> list[Migration]:
    try:
        return load(Path(MIGRATIONS))
    except Error as error:
        raise pulumi.RunError(str(error)) from error


def _declaration(args: VectorDatabaseArgs, address: Address) -> Declaration:
    return Declaration(
        schema=args.schema,
        on_destroy=args.on_destroy,
        minimum_version=args.minimum_version,
        connection=address.declared(),
        tables=args.tables,
        roles={kind: role.name for kind, role in args.roles.by_kind().items()} if args.roles else {},
    )
