"""A pgvector database as one component: the extension, the owner, the migrations, then everybody's rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from infra.address import Address, find
from infra.migrations import Migrations
from infra.rights import Place, Rights
from infra.roles import Roles
from migrate.engine import Options
from migrate.files import Migration, load
from postgres.catalogue import EXTENSION
from postgres.contract import Declaration
from postgres.errors import Error
from postgres.preflight import preflight, refuse_role

COMPONENT_TYPE = "pgvector-seed:index:VectorDatabase"
MIGRATIONS = "migrations"  # the folder, relative to the one the program runs in


@dataclass(frozen=True)
class VectorDatabaseArgs:
    """What a VectorDatabase is made of.

    ``connection`` has libpq's names (host, port, dbname, user, sslmode); what it leaves out, and the
    password when it is None, libpq finds in the environment. The rest is as in Declaration and Options.
    """

    connection: Mapping[str, pulumi.Input[str]]
    password: pulumi.Input[str] | None = field(repr=False)
    schema: str
    on_destroy: str
    minimum_version: str
    tables: Mapping[str, Mapping[str, Any]]
    options: Options = field(default_factory=Options)
    create_extension: bool = True
    superuser: bool = True
    roles: Roles | None = None


class VectorDatabase(pulumi.ComponentResource):
    """A database with pgvector enabled and its tables made.

    ``contract`` is what it promises. ``passwords`` maps writer and reader to their passwords, where the stack
    makes these roles.
    """

    contract: pulumi.Output[dict[str, Any]]
    passwords: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: VectorDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(COMPONENT_TYPE, name, {}, opts)
        address = _address(args.connection)
        password = pulumi.Output.secret(args.password or address.apply(lambda found: found.password))
        conninfo = pulumi.Output.all(address, password).apply(lambda both: both[0].conninfo(both[1]))
        provider = _provider(
            f"{name}-server", address, password, pulumi.ResourceOptions(parent=self), superuser=args.superuser
        )
        # What is kept needs the extension and the roles; to drop an owner takes the grants on its tables along.
        retain = args.on_destroy == "retain"
        kept = pulumi.ResourceOptions(parent=self, provider=provider, retain_on_delete=retain)
        extension = [_extension(name, address, conninfo, kept)] if args.create_extension else []
        rights = _rights(name, args, address, conninfo, kept)
        migrations = Migrations(
            f"{name}-migrations",
            conninfo=conninfo.apply(rights.as_owner) if rights else conninfo,
            directory=MIGRATIONS,
            migrations=_load(),
            declaration=address.apply(lambda found: _declaration(args, found)),
            options=args.options,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*extension, *(rights.declared if rights else ())]),
        )
        if rights:
            rights.declare_grants(migrations)
        self.contract = migrations.contract
        self.passwords = rights.passwords if rights else {}
        self.register_outputs({"contract": self.contract})


def _extension(
    name: str, address: pulumi.Output[Address], conninfo: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> postgresql.Extension:
    mine = pulumi.ResourceOptions(
        # One that somebody made before is used where it is and as it is: with these two watched, the
        # second `up` would move it.
        ignore_changes=["schema", "version"],
        hooks=_before_create(f"{name}-preflight", conninfo, lambda known, _: preflight(known)),
    )
    return postgresql.Extension(
        f"{name}-extension",
        name=EXTENSION,
        database=address.apply(lambda found: found.dbname),
        schema="public",
        opts=pulumi.ResourceOptions.merge(opts, mine),
    )


def _rights(
    name: str,
    args: VectorDatabaseArgs,
    address: pulumi.Output[Address],
    conninfo: pulumi.Output[str],
    opts: pulumi.ResourceOptions,
) -> Rights | None:
    """The roles and what their owner needs, declared; None where the stack has none."""
    if args.roles is None:
        return None
    place = Place(
        name,
        database=address.apply(lambda found: found.dbname),
        schema=args.schema,
        login=address.apply(lambda found: found.user),
        superuser=args.superuser,
    )
    rights = Rights(args.roles, place, opts)
    rights.declare_roles(_before_create(f"{name}-no-such-role", conninfo, refuse_role))
    return rights


def _address(connection: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[Address]:
    known = {name: value for name, value in connection.items() if isinstance(value, str)}
    if len(known) == len(connection):  # then its faults are told before anything is declared
        return pulumi.Output.from_input(find(known))
    return pulumi.Output.all(**connection).apply(_find_late)


def _find_late(given: dict[str, str]) -> Address:
    try:
        return find(given)
    except pulumi.RunError as error:
        # Raised this late, in a program with a hook, it may end the Python host before it is told
        # (seen with SDK 3.272 on Python 3.11 to 3.13: a segmentation fault).
        pulumi.log.error(str(error))
        raise


def _provider(
    name: str,
    address: pulumi.Output[Address],
    password: pulumi.Output[str],
    opts: pulumi.ResourceOptions,
    *,
    superuser: bool,
) -> postgresql.Provider:
    return postgresql.Provider(
        name,
        host=address.apply(lambda found: found.host),
        port=address.apply(lambda found: found.port),
        database=address.apply(lambda found: found.dbname),
        username=address.apply(lambda found: found.user),
        password=password,
        sslmode=address.apply(lambda found: found.sslmode),
        superuser=superuser,
        opts=opts,
    )


def _before_create(
    name: str, conninfo: pulumi.Output[str], check: Callable[[str, str], None]
) -> pulumi.ResourceHookBinding:
    """Have ``check`` look at the server, and at the name of what is about to be created there."""

    async def look(args: pulumi.ResourceHookArgs) -> None:
        known = await conninfo.future()
        if known is None:
            raise pulumi.RunError("the server's address is not known, and something is about to be created on it")
        check(known, (args.new_inputs or {})["name"])

    return pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook(name, look)])


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
        roles=args.roles.names() if args.roles else {},
    )
