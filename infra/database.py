"""A pgvector database as one component: the extension, then the migrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from infra.address import Address, find
from infra.migrations import Migrations
from migrate.engine import Options
from migrate.files import Migration, load
from postgres.catalogue import EXTENSION
from postgres.contract import Declaration
from postgres.errors import Error
from postgres.preflight import preflight

COMPONENT_TYPE = "pgvector-seed:index:VectorDatabase"
MIGRATIONS = "migrations"  # the folder, relative to the one the program runs in


@dataclass(frozen=True)
class VectorDatabaseArgs:
    """What a VectorDatabase is made of.

    ``connection`` has libpq's names (host, port, dbname, user, sslmode and others); what it leaves out, and the
    password when it is None, libpq finds in the environment. The rest is as in Declaration and Options.
    """

    connection: Mapping[str, pulumi.Input[str]]
    password: pulumi.Input[str] | None = field(repr=False)
    schema: str
    on_destroy: str
    minimum_version: str
    tables: Mapping[str, Mapping[str, Any]]
    options: Options = field(default_factory=Options)


class VectorDatabase(pulumi.ComponentResource):
    """A database with pgvector enabled and its tables made. ``contract`` is what it promises."""

    contract: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, args: VectorDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(COMPONENT_TYPE, name, {}, opts)
        address = _address(args.connection)
        password = pulumi.Output.secret(args.password or address.apply(lambda found: found.password))
        conninfo = pulumi.Output.all(address, password).apply(lambda both: both[0].conninfo(both[1]))
        provider = _provider(f"{name}-server", address, password, pulumi.ResourceOptions(parent=self))
        extension = postgresql.Extension(
            f"{name}-extension",
            name=EXTENSION,
            database=address.apply(lambda found: found.dbname),
            schema="public",
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=provider,
                # One that somebody made before is used where it is and as it is: with these two
                # watched, the second `up` would move it.
                ignore_changes=["schema", "version"],
                # The tables that stay need it.
                retain_on_delete=args.on_destroy == "retain",
                hooks=pulumi.ResourceHookBinding(before_create=[_preflight(name, conninfo)]),
            ),
        )
        self.contract = Migrations(
            f"{name}-migrations",
            conninfo=conninfo,
            directory=MIGRATIONS,
            migrations=_load(),
            declaration=address.apply(lambda found: _declaration(args, found)),
            options=args.options,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[extension]),
        ).contract
        self.register_outputs({"contract": self.contract})


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
    name: str, address: pulumi.Output[Address], password: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> postgresql.Provider:
    # Where the server is, is no secret.
    dialled = pulumi.Output.unsecret(pulumi.Output.all(address, password)).apply(lambda both: both[0].dialled(both[1]))
    return postgresql.Provider(
        name,
        host=dialled.apply(lambda found: found[0]),
        port=dialled.apply(lambda found: found[1]),
        database=address.apply(lambda found: found.dbname),
        username=address.apply(lambda found: found.user),
        password=password,
        sslmode=address.apply(lambda found: found.sslmode),
        sslrootcert=address.apply(lambda found: found.files.get("sslrootcert")),
        clientcert=address.apply(_client_certificate),
        opts=opts,
    )


def _client_certificate(address: Address) -> postgresql.ProviderClientcertArgs | None:
    files = address.files
    if "sslcert" not in files:
        return None
    return postgresql.ProviderClientcertArgs(cert=files["sslcert"], key=files["sslkey"])


def _preflight(name: str, conninfo: pulumi.Output[str]) -> pulumi.ResourceHook:
    async def check(_args: pulumi.ResourceHookArgs) -> None:
        known = await conninfo.future()
        if known is None:
            raise pulumi.RunError("the server's address is not known, and its extension is about to be created")
        preflight(known)

    return pulumi.ResourceHook(f"{name}-preflight", check)


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
    )
