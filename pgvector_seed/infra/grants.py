"""The roles and their least privileges, declared to the PostgreSQL provider.

The owner is declared before the migrations, which run as the owner; the rights of the writer and the reader after them.
Concurrent grants fail ("tuple concurrently updated"), so each waits for the one before.
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
# load moves a sequence past the ids that it copies; verify reads how many are left.
SEQUENCES = {"writer": ("USAGE", "SELECT", "UPDATE"), "reader": ("SELECT",)}


@dataclass(frozen=True)
class GrantScope:
    """The database and schema of the grants, and the login that grants them."""

    name: str  # the component's, the prefix of every resource's name
    database: pulumi.Output[str]
    schema: str
    login: pulumi.Output[str]
    superuser: bool


class Rights:
    """The declared roles and grants, each of which depends on the one before."""

    def __init__(self, roles: Roles, scope: GrantScope, opts: pulumi.ResourceOptions) -> None:
        self.roles = roles
        self.scope = scope
        self.opts = opts
        self.passwords: dict[str, pulumi.Output[str]] = {}
        self.last: pulumi.Resource | None = None

    @property
    def declared(self) -> list[pulumi.Resource]:
        """The resources that the migrations depend on."""
        return [self.last] if self.last else []

    def declare_roles(self, hooks: pulumi.ResourceHookBinding) -> None:
        """Declare the roles, and the rights that the owner needs for the migrations."""
        for kind, role in self.roles.by_kind().items():
            if not role.existing:
                self._role(kind, role, hooks)
        owner = self.roles.owner
        if not self.scope.superuser and not owner.existing:
            # The server grants a role to its creator with ADMIN OPTION, but not with SET ROLE, which this grant adds.
            # The provider reads the option of the server's grant as a change of this one.
            ignored = pulumi.ResourceOptions(ignore_changes=["withAdminOption"])
            self.last = postgresql.GrantRole(
                f"{self.scope.name}-deployer-owner",
                role=self.scope.login,
                grant_role=owner.name,
                opts=pulumi.ResourceOptions.merge(self._next(), ignored),
            )
        if not owner.existing:  # the provider would first revoke the rights that an existing owner has
            self._grant("owner-database", owner.name, "database", ["CREATE"])  # creates the ledger's schema
            if self.scope.schema == "public":
                self._grant("owner-schema", owner.name, "schema", ["CREATE", "USAGE"], schema="public")

    def declare_grants(self, migrations: Migrations) -> None:
        """Declare the rights of the writer and the reader on present and, by default privileges, on future objects."""
        self.last = migrations
        # The provider does not notice that a grant's tables are gone. A new ledger replaces the grant, so that a new
        # database gets it again.
        per_ledger = pulumi.ResourceOptions(replacement_trigger=migrations.ledger)
        for kind, role in self.roles.logins().items():
            name = role.name
            if not role.existing:
                self._grant(f"{kind}-database", name, "database", ["CONNECT"])
            self._grant(f"{kind}-schema", name, "schema", ["USAGE"], schema=self.scope.schema)
            self._grant_on(f"{kind}-tables", name, "table", TABLES[kind], migrations.tables, per_ledger)
            self._grant_on(f"{kind}-sequences", name, "sequence", SEQUENCES[kind], migrations.sequences, per_ledger)
            self._default(f"{kind}-later-tables", name, "table", TABLES[kind])
            self._default(f"{kind}-later-sequences", name, "sequence", SEQUENCES[kind])
            self._grant(f"{kind}-ledger", name, "schema", ["USAGE"], schema=SCHEMA)
            self._grant(f"{kind}-ledger-tables", name, "table", ["SELECT"], schema=SCHEMA, objects=list(RELATIONS))

    def _role(self, kind: str, role: Role, hooks: pulumi.ResourceHookBinding) -> None:
        verifier = self._password(kind, role.password) if kind in self.roles.logins() else None
        role_options = pulumi.ResourceOptions(
            import_=role.name if self.roles.import_existing else None,
            hooks=hooks,
            retain_on_delete=self.opts.retain_on_delete,
        )
        self.last = postgresql.Role(
            f"{self.scope.name}-{kind}",
            name=role.name,
            login=verifier is not None,
            password=verifier,
            opts=pulumi.ResourceOptions.merge(self._next(), role_options),
        )

    def _password(self, kind: str, configured: pulumi.Input[str] | None) -> pulumi.Output[str]:
        """Declare the password of a role, and return its verifier for the server."""
        name, opts = f"{self.scope.name}-{kind}-password", pulumi.ResourceOptions(parent=self.opts.parent)
        resource = Password(name, configured, self.roles.password_version, opts)
        self.passwords[kind] = resource.password
        return resource.verifier

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
            f"{self.scope.name}-{name}",
            database=self.scope.database,
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
        """Grant on ``objects`` by name. If there are none, grant USAGE on the schema, which the role has anyway.

        For the provider, an empty list is every object in the schema, also those of other owners. A new object has its
        rights by default privileges before this grant is replaced to name it.
        """
        exist = objects.apply(bool)
        self._grant(
            name,
            role,
            exist.apply(lambda exist: kind if exist else "schema"),
            exist.apply(lambda exist: list(privileges) if exist else ["USAGE"]),
            schema=self.scope.schema,
            objects=objects,
            opts=opts,
        )

    def _default(self, name: str, role: str, kind: str, privileges: Sequence[str]) -> None:
        self.last = postgresql.DefaultPrivileges(
            f"{self.scope.name}-{name}",
            database=self.scope.database,
            owner=self.roles.owner.name,
            role=role,
            schema=self.scope.schema,
            object_type=kind,
            privileges=list(privileges),
            opts=self._next(),
        )

    def _next(self) -> pulumi.ResourceOptions:
        """Return options that depend on the last declared resource, and keep the rights on delete.

        Rights are dropped with their role or their tables. Revoking them would fail if either is renamed or gone, and
        take them away for a moment if a grant is replaced.
        """
        return pulumi.ResourceOptions.merge(
            self.opts, pulumi.ResourceOptions(depends_on=self.last, retain_on_delete=True)
        )
