"""The arguments of a VectorDatabase, validated when they are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from pgvector_seed.infra.policy import ENFORCE, WARN
from pgvector_seed.infra.roles import Roles, faults_of_names
from pgvector_seed.infra.tables import faults_of_table
from pgvector_seed.infra.tls import SSLMODES
from pgvector_seed.infra.validation import (
    fault_of_port,
    fault_of_text,
    fault_of_version,
    faults_of_types,
    one_of,
)
from pgvector_seed.migrate.declaration import NOTHING_DECLARED, fault_of_schema
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.migrate.session import Limits, fault_of_duration

# Of libpq's connection parameters, those that have an argument, by its name.
LIBPQ = {
    "host": "host",
    "port": "port",
    "database": "dbname",
    "user": "user",
    "service": "service",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
}


@dataclass(frozen=True, kw_only=True)
class VectorDatabaseArgs:
    """The arguments of a VectorDatabase; every one has a default.

    ``migrations`` is the folder of the SQL files, relative to the folder that the program runs in; the state keeps
    an absolute path as a relative one, too.

    ``host`` to ``sslkey`` say where the database is and who deploys. Without them, libpq's environment does.
    ``host`` and ``port`` may be lists, separated by commas.

    ``schema`` is where the tables go. ``on_destroy`` is "retain" or "revert", which undoes the migrations.
    ``minimum_version`` is the oldest pgvector that is accepted. ``tables`` maps a table to what the catalog cannot
    know of it: ``metric``, ``rows`` (at least), ``recall`` (``k``, ``minimum``). ``roles`` is None if the login that
    deploys owns the tables.

    ``allow_down`` undoes migrations at the end whose files are gone. ``lock_timeout`` and ``statement_timeout``
    limit a migration's statements: "5s", "2min"; None is the session's own limit. ``create_extension`` is False if
    pgvector is enabled by someone else. ``superuser`` is False if the login is none. ``policy`` is "enforce", or
    "warn" to be warned only of what is unsafe.

    What the annotation calls a pulumi.Input may be an output of another resource. Everything else decides what is
    declared, and is known at preview. None is a value only of an argument whose default it is.

    Raises pulumi.RunError that names every fault of the type or of the value of an argument.
    """

    migrations: str | os.PathLike[str] = "migrations"
    host: pulumi.Input[str] | None = None
    port: pulumi.Input[str | int] | None = None
    database: pulumi.Input[str] | None = None
    user: pulumi.Input[str] | None = None
    password: pulumi.Input[str] | None = field(default=None, repr=False)
    service: pulumi.Input[str] | None = None
    sslmode: pulumi.Input[str] | None = None
    sslrootcert: pulumi.Input[str] | None = None
    sslcert: pulumi.Input[str] | None = None
    sslkey: pulumi.Input[str] | None = None
    schema: str = NOTHING_DECLARED.schema
    on_destroy: str = NOTHING_DECLARED.on_destroy
    minimum_version: str = NOTHING_DECLARED.minimum_version
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    roles: Roles | None = None
    allow_down: bool = False
    lock_timeout: str | None = None
    statement_timeout: str | None = None
    create_extension: bool = True
    superuser: bool = True
    policy: str = ENFORCE

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise pulumi.RunError("the arguments of the VectorDatabase are not valid:\n  " + "\n  ".join(faults))

    @property
    def connection(self) -> dict[str, pulumi.Input[Any]]:
        """Those of libpq's parameters that are given, by libpq's names; the password is not among them."""
        given = {option: getattr(self, name) for name, option in LIBPQ.items()}
        return {option: value for option, value in given.items() if value is not None}

    @property
    def options(self) -> ApplyOptions:
        """How the migrations are run."""
        return ApplyOptions(Limits(self.lock_timeout or "", self.statement_timeout or ""), allow_down=self.allow_down)


# What is wrong with a value, or None, by the name of its argument. An Output's value is not known yet.
CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("migrations", *LIBPQ, "password"), fault_of_text),
    "port": fault_of_port,
    "sslmode": one_of(*SSLMODES),
    "schema": fault_of_schema,
    "on_destroy": one_of("retain", "revert"),
    "minimum_version": fault_of_version,
    "lock_timeout": fault_of_duration,
    "statement_timeout": fault_of_duration,
    "policy": one_of(ENFORCE, WARN),
}


def _faults(args: VectorDatabaseArgs) -> Iterator[str]:
    wrong_types = dict(faults_of_types(args))
    yield from (f"{path}: {fault}" for path, fault in wrong_types.items())
    for name, check in CHECKS.items():
        value = getattr(args, name)
        if name not in wrong_types and isinstance(value, str | int | os.PathLike) and (fault := check(value)):
            yield f"{name}: {fault}"
    if "tables" not in wrong_types:
        yield from (fault for name, table in args.tables.items() for fault, _ in faults_of_table(name, table))
    if args.roles and not any(path.startswith("roles") for path in wrong_types):
        yield from _faults_of_roles(args.roles)


def _faults_of_roles(roles: Roles) -> Iterator[str]:
    yield from (fault for fault, _ in faults_of_names({kind: role.name for kind, role in roles.by_kind().items()}))
    for kind, role in roles.by_kind().items():
        if isinstance(role.password, str) and (fault := fault_of_text(role.password)):
            yield f"roles.{kind}.password: {fault}"
