"""Roles and their rights, declared to the PostgreSQL provider: least privilege, and each in its turn.

The owner comes before the migrations, which run as it; what the writer and the reader may do comes after
them. Grants that run at once collide ("tuple concurrently updated"), so each waits for the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.infra.migrations import Migrations
from pgvector_seed.infra.password import Password
from pgvector_seed.infra.roles import Role, Roles
from pgvector_seed.migrate.ledger.facts import RELATIONS, SCHEMA

TABLES = {"writer": ("SELECT", "INSERT", "UPDATE", "DELETE"), "reader": ("SELECT",)}
SEQUENCES = {"writer": ("USAGE", "SELECT"), "reader": ("SELECT",)}  # the reader sees whether ids run out


@dataclass(frozen=True)
class Scope:
    """Where rights are given, and by whom."""

    name: str  # of the component, with which every resource's begins
    database: pulumi.Output[str]
    schema: str
    login: pulumi.Output[str]
    superuser: bool


class Rights:
    """Declares roles and grants one after the other."""

    def __init__(self, roles: Roles, place: Scope, opts: pulumi.ResourceOptions) -> None:
        self.roles = roles
        self.place = place
        self.opts = opts
        self.passwords: dict[str, pulumi.Output[str]] = {}
        self.last: pulumi.Resource | None = None

    @property
    def declared(self) -> list[pulumi.Resource]:
        """What the migrations wait for."""
        return [self.last] if self.last else []

    def declare_roles(self, hooks: pulumi.ResourceHookBinding) -> None:
        """The three roles, and what the owner needs before the migrations."""
        for kind, role in self.roles.by_kind().items():
            if not role.existing:
                self._role(kind, role, hooks)
        owner = self.roles.owner
        if not self.place.superuser and not owner.existing:
            # Who makes a role may give it away, and does not have it: SET ROLE wants a grant.
            # The server's own grant to the maker, which has the option, is read as if it were this one.
            ignored = pulumi.ResourceOptions(ignore_changes=["withAdminOption"])
            self.last = postgresql.GrantRole(
                f"{self.place.name}-deployer-owner",
                role=self.place.login,
                grant_role=owner.name,
                opts=pulumi.ResourceOptions.merge(self._next(), ignored),
            )
        if not owner.existing:  # whose rights here are its own: the provider would revoke them first
            self._grant("owner-database", owner.name, "database", ["CREATE"])  # for the ledger, and a schema
            if self.place.schema == "public":
                self._grant("owner-schema", owner.name, "schema", ["CREATE", "USAGE"], schema="public")

    def declare_grants(self, migrations: Migrations) -> None:
        """What the writer and the reader may do, now and with what is created later."""
        self.last = migrations
        # The provider sees nothing wrong with a grant on tables that are gone. So that it is given again in
        # a database that was replaced, another ledger replaces it.
        remade = pulumi.ResourceOptions(replacement_trigger=migrations.ledger)
        for kind, role in self.roles.logins().items():
            name = role.name
            if not role.existing:
                self._grant(f"{kind}-database", name, "database", ["CONNECT"])
            self._grant(f"{kind}-schema", name, "schema", ["USAGE"], schema=self.place.schema)
            self._grant_on(f"{kind}-tables", name, "table", TABLES[kind], migrations.tables, remade)
            self._grant_on(f"{kind}-sequences", name, "sequence", SEQUENCES[kind], migrations.sequences, remade)
            self._default(f"{kind}-later-tables", name, "table", TABLES[kind])
            self._default(f"{kind}-later-sequences", name, "sequence", SEQUENCES[kind])
            self._grant(f"{kind}-ledger", name, "schema", ["USAGE"], schema=SCHEMA)
            self._grant(f"{kind}-ledger-tables", name, "table", ["SELECT"], schema=SCHEMA, objects=list(RELATIONS))

    def _role(self, kind: str, role: Role, hooks: pulumi.ResourceHookBinding) -> None:
        verifier = self._password(kind, role.password) if kind in self.roles.logins() else None
        mine = pulumi.ResourceOptions(
            import_=role.name if self.roles.import_existing else None,
            hooks=hooks,
            retain_on_delete=self.opts.retain_on_delete,
        )
        self.last = postgresql.Role(
            f"{self.place.name}-{kind}",
            name=role.name,
            login=verifier is not None,
            password=verifier,
            opts=pulumi.ResourceOptions.merge(self._next(), mine),
        )

    def _password(self, kind: str, given: pulumi.Input[str] | None) -> pulumi.Output[str]:
        """Make the password, and return what the server gets of it."""
        name, opts = f"{self.place.name}-{kind}-password", pulumi.ResourceOptions(parent=self.opts.parent)
        made = Password(name, given, self.roles.password_version, opts)
        self.passwords[kind] = made.password
        return made.verifier

    def _grant(
        self,
        name: str,
        role: str,
        object_type: pulumi.Input[str],
        privileges: pulumi.Input[Sequence[str]],
        schema: str | None = None,
        objects: pulumi.Input[Sequence[str]] | None = None,
        *,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self.last = postgresql.Grant(
            f"{self.place.name}-{name}",
            database=self.place.database,
            role=role,
            object_type=object_type,
            schema=schema,
            objects=objects,
            privileges=privileges,
            opts=pulumi.ResourceOptions.merge(self._next(), opts),
        )

    def _grant_on(
        self,
        name: str,
        role: str,
        kind: str,
        privileges: Sequence[str],
        objects: pulumi.Output[list[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Grant on these objects by name; where there are none, on the schema what is granted anyway.

        An empty list would mean every object of the schema, those of others too. What is new has its rights
        already, by default, when this is replaced to name it.
        """
        some = objects.apply(bool)
        self._grant(
            name,
            role,
            some.apply(lambda some: kind if some else "schema"),
            some.apply(lambda some: list(privileges) if some else ["USAGE"]),
            schema=self.place.schema,
            objects=objects,
            opts=opts,
        )

    def _default(self, name: str, role: str, kind: str, privileges: Sequence[str]) -> None:
        self.last = postgresql.DefaultPrivileges(
            f"{self.place.name}-{name}",
            database=self.place.database,
            owner=self.roles.owner.name,
            role=role,
            schema=self.place.schema,
            object_type=kind,
            privileges=list(privileges),
            opts=self._next(),
        )

    def _next(self) -> pulumi.ResourceOptions:
        """After the one before; the first after nothing.

        Rights go with their role or with their tables. To revoke them would fail where either is renamed or gone,
        and lock everybody out for a moment where a grant is replaced.
        """
        return pulumi.ResourceOptions.merge(
            self.opts, pulumi.ResourceOptions(depends_on=self.last, retain_on_delete=True)
        )
