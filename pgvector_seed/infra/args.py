"""The validated arguments of a VectorDatabase."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from pgvector_seed.common.sizes import fault_of_size
from pgvector_seed.common.text import fault_of_text
from pgvector_seed.infra.policy import ENFORCE, WARN
from pgvector_seed.infra.roles import Roles, faults_of_names
from pgvector_seed.infra.settings import faults_of_settings
from pgvector_seed.infra.tables import faults_of_table
from pgvector_seed.infra.tls import SSLMODES
from pgvector_seed.infra.validation import fault_of_port, fault_of_version, faults_of_types, one_of
from pgvector_seed.migrate.declaration import NOTHING_DECLARED, fault_of_schema
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.migrate.session import Limits, fault_of_duration

# The arguments of the connection, with libpq's name of each.
_NAMES = ("host", "port", "database", "user", "service", "sslmode", "sslrootcert", "sslcert", "sslkey")
LIBPQ = {**{name: name for name in _NAMES}, "database": "dbname"}


@dataclass(frozen=True, kw_only=True)
class VectorDatabaseArgs:
    """The arguments of a VectorDatabase; every one has a default.

    ``migrations`` is the folder of the SQL files, relative to the folder that the program runs in; an absolute path
    is stored as a relative one.

    ``host`` to ``sslkey`` are the connection's parameters; their defaults are libpq's environment. ``host`` and
    ``port`` may be lists, separated by commas.

    ``schema`` is the tables' schema. ``on_destroy`` is "retain", or "revert" to undo the migrations.
    ``minimum_version`` is the oldest accepted pgvector. ``tables`` maps a table's name to the facts that the catalog
    does not have: ``metric``, ``rows`` (at least), ``recall`` (``k``, ``minimum``, ``filter``), and to its ``index``: a
    map, or a list of maps, of ``method`` and parameters. Without ``roles``, the login that deploys owns the tables.
    ``reader_settings`` maps settings, such as hnsw.ef_search, to the values that the reader's sessions start with;
    without ``roles``, all sessions in the database do.

    ``allow_down`` undoes the last migrations if their files are missing. ``lock_timeout`` and ``statement_timeout``
    limit a migration's statements: "5s", "2min"; None is the session's own limit. ``index_memory``, such as "2GB",
    limits the memory of an index build. ``create_extension`` is False if
    pgvector is enabled by other means. ``superuser`` is False if the login is not a superuser. ``policy`` is
    "enforce", or "warn" to allow unsafe settings with a warning.

    An argument annotated as pulumi.Input may be an output of another resource. All others must be known at preview,
    because the declared resources depend on them. None is valid only for an argument whose default is None.

    Raises pulumi.RunError that names every invalid argument.
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
    reader_settings: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    allow_down: bool = False
    lock_timeout: str | None = None
    statement_timeout: str | None = None
    index_memory: str | None = None
    create_extension: bool = True
    superuser: bool = True
    policy: str = ENFORCE

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise pulumi.RunError("the arguments of the VectorDatabase are not valid:\n  " + "\n  ".join(faults))

    @property
    def connection(self) -> dict[str, pulumi.Input[Any]]:
        """The connection's parameters that are set, by libpq's names, without the password."""
        parameters = {parameter: getattr(self, name) for name, parameter in LIBPQ.items()}
        return {parameter: value for parameter, value in parameters.items() if value is not None}

    @property
    def options(self) -> ApplyOptions:
        """The options of applying the migrations."""
        return ApplyOptions(Limits(self.lock_timeout or "", self.statement_timeout or ""), allow_down=self.allow_down)


# For each argument a check, which returns the fault of a value, or None. The value of an Output is not checked.
CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("migrations", *LIBPQ, "password"), fault_of_text),
    "port": fault_of_port,
    "sslmode": one_of(*SSLMODES),
    "schema": fault_of_schema,
    "on_destroy": one_of("retain", "revert"),
    "minimum_version": fault_of_version,
    "lock_timeout": fault_of_duration,
    "statement_timeout": fault_of_duration,
    "index_memory": fault_of_size,
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
    if "reader_settings" not in wrong_types:
        yield from (fault for fault, _ in faults_of_settings(args.reader_settings))
    if args.roles and not any(path.startswith("roles") for path in wrong_types):
        yield from _faults_of_roles(args.roles)


def _faults_of_roles(roles: Roles) -> Iterator[str]:
    yield from (fault for fault, _ in faults_of_names({kind: role.name for kind, role in roles.by_kind().items()}))
    for kind, role in roles.by_kind().items():
        if isinstance(role.password, str) and (fault := fault_of_text(role.password)):
            yield f"roles.{kind}.password: {fault}"
