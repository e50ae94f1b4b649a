"""The reader's settings as a Pulumi resource: ALTER ROLE ... IN DATABASE, or ALTER DATABASE if the stack has no roles.

Only settings that the last declaration had are removed; others, set by hand, stay. As with the migrations, the state
has the name of the provider class, no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg
import pulumi
from psycopg import errors, sql
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.remedies import IN_CHECKOUT, setting_name
from pgvector_seed.infra.comparison import fault_of_removed_roles
from pgvector_seed.infra.dynamic import ConnectingProvider
from pgvector_seed.infra.process import report
from pgvector_seed.infra.settings import KEY, set_command
from pgvector_seed.infra.state import connect_to_read
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.handover import handover_transaction
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import locked
from pgvector_seed.postgres.catalog import role_exists
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import as_login
from pgvector_seed.postgres.errors import is_connection_lost, one_line, translated
from pgvector_seed.vectors.extension import find_extension, require_extension
from pgvector_seed.vectors.reader import load_library
from pgvector_seed.vectors.settings import (
    RoleSettings,
    alter_setting,
    is_same_value,
    setting_texts,
    stored_settings,
    with_library,
)

Properties = dict[str, Any]
INPUTS = ("conninfo", "roles", "settings")


class ReaderSettingsProvider(ConnectingProvider):
    """Stores the settings on create and update, removes them on delete, and reads them from the catalog."""

    def check(self, olds: Properties, news: Properties) -> CheckResult:
        """Refuse a removal of the roles, as the migrations do, which come later: the settings would move before."""
        removed = olds.get("roles") and not news["roles"]
        return CheckResult(news, [CheckFailure("roles", fault_of_removed_roles(olds["roles"]))] if removed else [])

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs with those of the last ``up``, or with the settings as a refresh has read them."""
        return DiffResult(changes=any(olds.get(name) != news.get(name) for name in (*INPUTS, "__provider")))

    def create(self, props: Properties) -> CreateResult:
        """Store the settings, and remove those that only the ledger's declaration has: the state may have been lost."""
        store_settings(props["conninfo"], settings_of(props), _recorded(props["conninfo"]))
        return CreateResult("reader-settings", props)

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """Store the settings, and remove those that only the last ``up`` or the ledger's declaration has."""
        store_settings(news["conninfo"], settings_of(news), [settings_of(olds), *_recorded(news["conninfo"])])
        return UpdateResult({**olds, **news})

    def read(self, id_: str, props: Properties) -> ReadResult:
        """Return the declared settings as the server has them now, so that a refresh shows a change by hand."""
        declared = settings_of(props)
        with connect(as_login(props["conninfo"])) as connection, translated("reading the reader's settings"):
            stored = stored_settings(connection, declared.role)
            actual = {
                name: value if is_same_value(connection, name, value, stored[name]) else stored[name]
                for name, value in declared.values.items()
                if name in stored
            }
        return ReadResult(id_, {**props, "settings": actual})

    def delete(self, _id: str, props: Properties) -> None:
        """Remove the settings. Not called if the last ``up`` had ``on_destroy`` "retain"."""
        settings = settings_of(props)
        store_settings(props["conninfo"], RoleSettings(settings.role), [settings])


def settings_of(props: Properties) -> RoleSettings:
    """Return the settings in the resource's inputs."""
    return RoleSettings(props["roles"].get("reader"), props["settings"])


def declared_settings(declaration: Declaration) -> RoleSettings:
    """Return the settings of a deployment with this declaration."""
    return RoleSettings(declaration.roles.get("reader"), setting_texts(declaration.reader_settings))


def _recorded(conninfo: str) -> list[RoleSettings]:
    """Return the settings of the ledger's declaration, in a list that is empty if the database has no ledger."""
    with connect_to_read(conninfo) as connection, translated("reading the ledger"), handover_transaction(connection):
        ledger = read_ledger(connection)
    return [declared_settings(ledger.declaration)] if ledger else []


def store_settings(conninfo: str, settings: RoleSettings, earlier: Iterable[RoleSettings]) -> None:
    """Store the settings, and remove those of ``earlier`` declarations, in one transaction under the migration lock.

    Acts as the login, not as the owner. Raises RefusedError, with the statement for another role, if the server refuses
    a setting.
    """
    earlier = [old for old in earlier if old.values]
    if not (settings.values or earlier):
        return
    with (
        connect(as_login(conninfo)) as connection,
        translated("setting the reader's settings"),
        locked(connection, report),
        connection.transaction(),
    ):
        change_settings(connection, settings, earlier)


def change_settings(connection: Connection, settings: RoleSettings, earlier: Iterable[RoleSettings]) -> None:
    """Do the work of ``store_settings`` in the caller's transaction, and raise as it does."""
    extension = require_extension(connection) if settings.values else find_extension(connection)
    if extension:
        load_library(connection, extension.schema)
    for name, statement in pending(connection, settings, earlier):
        _execute(connection, name, statement)


def pending(
    connection: Connection, settings: RoleSettings, earlier: Iterable[RoleSettings]
) -> Iterator[tuple[str, sql.Composed]]:
    """Yield the name and the statement of each setting that must be changed: first the removed, then the declared."""
    database = connection.info.dbname
    for old in earlier:
        # A role that was renamed has kept its settings.
        role = old.role if old.role is None or role_exists(connection, old.role) else settings.role
        declared: Mapping[str, str] = settings.values if role == settings.role else {}
        for name in sorted(stored_settings(connection, role).keys() & old.values.keys() - declared.keys()):
            yield name, alter_setting(database, role, name, None)
    stored = stored_settings(connection, settings.role)
    for name, value in sorted(settings.values.items()):
        if stored.get(name) != value:
            yield name, alter_setting(database, settings.role, name, value)


def _execute(connection: Connection, name: str, statement: sql.Composed) -> None:
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.Error as error:
        if is_connection_lost(error):
            raise
        in_program = f"Change {name} in VectorDatabaseArgs({setting_name(KEY)}=...)"
        remedy = f"Run: {set_command(name)} VALUE" if IN_CHECKOUT else in_program
        if isinstance(error, errors.InsufficientPrivilege):
            remedy = f"As a role that may, run in this database: {with_library(connection, name, statement)}"
        raise RefusedError(f"the reader's setting {name}: {one_line(error)}", remedy) from error


class ReaderSettings(Resource, module="pgvector_seed", name="ReaderSettings"):
    """The settings of the reader's sessions in the database, or of all sessions in it if there are no ``roles``.

    ``roles`` maps owner, writer and reader to their names. Declared even without settings: to Pulumi, the removal of a
    resource is the same as its destruction.
    """

    def __init__(
        self,
        name: str,
        *,
        conninfo: pulumi.Input[str],
        roles: Mapping[str, str],
        settings: Mapping[str, bool | int | float | str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "conninfo": pulumi.Output.secret(conninfo),
            "roles": dict(roles),
            "settings": setting_texts(settings),
        }
        super().__init__(ReaderSettingsProvider(), name, inputs, opts)
