"""The Pulumi program without Pulumi's engine.

``__main__.py`` runs in this process: a first time to collect the declared resources and refuse those that need Pulumi's
engine, and a second time to apply each to the database. There is no state file: the ledger tells what was applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from psycopg import sql

from local import consent, program
from local.advice import without_pulumi
from local.changes import changed_settings
from local.program import Registered
from local.pulumi_state import EXTENSION_TYPE, INDEXES_TYPE, MIGRATIONS_TYPE, READER_SETTINGS_TYPE
from local.workspace import STACK
from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.common.text import printable
from pgvector_seed.infra.database import COMPONENT_TYPE
from pgvector_seed.infra.indexes import build_indexes
from pgvector_seed.infra.preflight import enable, preflight
from pgvector_seed.infra.properties import apply_inputs, declaration, irreversible, options
from pgvector_seed.infra.reader_settings import (
    change_settings,
    declared_settings,
    pending,
    settings_of,
    store_settings,
)
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.files import load, load_if_present
from pgvector_seed.migrate.index_states import states
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.runner import Preview, revert
from pgvector_seed.migrate.runner import preview as compare
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.extension import EXTENSION, find_extension
from pgvector_seed.vectors.settings import RoleSettings

APPLIED = (EXTENSION_TYPE, READER_SETTINGS_TYPE, MIGRATIONS_TYPE, INDEXES_TYPE)
NOTHING_TO_APPLY = ("pulumi:providers:postgresql", COMPONENT_TYPE)

SIGNS = {"create": "+", "update": "~", "delete": "-", "unchanged": " ", "retained": " "}


@dataclass(frozen=True)
class Stack:
    """The resources that a stack may have without Pulumi's engine."""

    extension: Registered
    settings: Registered
    migrations: Registered
    indexes: Registered

    @property
    def conninfo(self) -> str:
        """The conninfo of all resources."""
        return str(self.migrations.inputs["conninfo"])


def collect() -> Stack:
    """Return the declared resources, without a connection. Raises InputError if one needs Pulumi's engine."""
    resources: dict[str, Registered] = {}

    def handle(resource: Registered) -> dict[str, Any]:
        if resource.type in resources or resource.type not in (*APPLIED, *NOTHING_TO_APPLY):
            raise InputError(
                f"{resource.name} ({resource.type}) needs Pulumi's engine: stand-alone, a stack has one "
                "VectorDatabase without roles, and nothing else",
                "Use ENGINE=pulumi. It needs Pulumi's CLI on PATH, or a network to install it.",
            )
        resources[resource.type] = resource
        return {}

    program.run(handle, preview=True)
    if not {*APPLIED} <= resources.keys():
        raise InputError("the program declares no VectorDatabase", "Look at __main__.py")
    return Stack(*(resources[type_] for type_ in APPLIED))


def operations(stack: Stack) -> tuple[dict[str, str], Preview]:
    """Return the operation of `up` on each type of resource, and the preview of the migrations.

    The reader's settings are left out if there are none, neither declared nor of the last `up`.
    """
    preflight(stack.conninfo)
    with connect(stack.conninfo) as connection, translated("reading the catalog"):
        enabled = find_extension(connection) is not None
        migrations = load(Path(stack.migrations.inputs["directory"]))
        inputs = stack.migrations.inputs
        previewed = compare(connection, migrations, declaration(inputs), options(inputs))
        earlier = [declared_settings(previewed.ledger.declaration)] if previewed.ledger else []
        settings = settings_of(stack.settings.inputs)
        statements = list(pending(connection, settings, earlier))
        indexes = _operation_on_indexes(connection, previewed)
    operation = "create" if previewed.ledger is None else "unchanged" if previewed.nothing_to_do else "update"
    planned = {EXTENSION_TYPE: "unchanged" if enabled else "create"}
    if settings.values or statements:
        is_new = not any(old.values for old in earlier)
        planned[READER_SETTINGS_TYPE] = "create" if is_new else "update" if statements else "unchanged"
    planned[MIGRATIONS_TYPE] = operation
    return ({**planned, INDEXES_TYPE: indexes} if indexes else planned), previewed


def _operation_on_indexes(connection: Connection, previewed: Preview) -> str | None:
    """Return the operation of `up` on the declared indexes, or None if no index is or was declared."""
    ledger = previewed.ledger
    is_declared = any(table.index for table in previewed.declaration.tables.values())
    if not (is_declared or (ledger and ledger.indexes)):
        return None
    if ledger is None or not ledger.catalogue:
        return "create"
    is_done = previewed.nothing_to_do and all(one.is_ready for one in states(connection, ledger))
    return "unchanged" if is_done else "update"


def preview() -> None:
    """Print what `up` would do."""
    print(f"Previewing update ({STACK}), stand-alone:")
    stack = collect()
    planned, previewed = operations(stack)
    for resource in (stack.extension, stack.settings, stack.migrations, stack.indexes):
        if resource.type in planned:
            show(resource, planned[resource.type])
    for line in previewed.plan.lines(irreversible(stack.migrations.inputs)):
        print(line)
    if previewed.ledger:
        for line in changed_settings(previewed.ledger.declaration, previewed.declaration):
            print(printable(line))
    summary(planned, "to ")


def up() -> None:
    """Apply what the program declares."""
    print(f"Updating ({STACK}), stand-alone:")
    stack = collect()
    planned, previewed = operations(stack)
    earlier = [declared_settings(previewed.ledger.declaration)] if previewed.ledger else []

    def handle(resource: Registered) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        if resource.type in planned:
            show(resource, planned[resource.type])
        if resource.type == EXTENSION_TYPE:
            enable(stack.conninfo)
        elif resource.type == READER_SETTINGS_TYPE:
            store_settings(stack.conninfo, settings_of(resource.inputs), earlier)
        elif resource.type == MIGRATIONS_TYPE:
            outputs = apply_inputs(resource.inputs)
        elif resource.type == INDEXES_TYPE:
            outputs = build_indexes(resource.inputs)
        return outputs

    program.run(handle, preview=False)
    summary(planned, "")


def destroy(*, agreed: bool) -> None:
    """Undo the deployment, or keep it, as the last `up` said."""
    print(f"Destroying ({STACK}), stand-alone:")
    stack = collect()
    with connect(stack.conninfo) as connection:
        with translated("reading the ledger"):
            ledger = read_ledger(connection)
        if ledger is None:
            print(consent.NOTHING_TO_DESTROY)
            return
        today = declaration(stack.migrations.inputs)
        consent.require(
            ledger.declaration.on_destroy,
            today.on_destroy,
            as_data(today.connection),
            agreed=agreed,
            irreversible=sorted(ledger.irreversible),
        )
        done = "retained"
        if ledger.declaration.on_destroy == "revert":
            settings = declared_settings(ledger.declaration)

            def at_end(connection: Connection) -> None:
                change_settings(connection, RoleSettings(settings.role), [settings])
                drop_extension(connection)

            inputs = stack.migrations.inputs
            migrations, limits = load_if_present(Path(inputs["directory"])), options(inputs).limits
            revert(connection, migrations, today.schema, print, at_end=at_end, limits=limits)
            done = "delete"
    for resource in (stack.migrations, stack.extension):
        show(resource, done)
    summary({resource.type: done for resource in (stack.migrations, stack.extension)}, "")


def drop_extension(connection: Connection) -> None:
    """Drop the extension, never with CASCADE: objects of others that depend on it are a reason to stop."""
    connection.execute(sql.SQL("DROP EXTENSION IF EXISTS {}").format(sql.Identifier(EXTENSION)))


def show(resource: Registered, operation: str) -> None:
    """Print one line for a resource, as Pulumi does."""
    print(f" {SIGNS[operation]}  {resource.type} {resource.name} {operation}", flush=True)


def summary(planned: dict[str, str], tense: str) -> None:
    """Print how many resources each operation has; ``tense`` is "to " in a preview."""
    print("Resources:")
    for operation, sign in SIGNS.items():
        count = list(planned.values()).count(operation)
        if count:
            changed = f"{sign} {count} {tense}{operation}{'' if tense else 'd'}"
            print("   ", changed if sign.strip() else f"{count} {operation}")


def run(verb: str, *, agreed: bool) -> None:
    """Run up, preview or destroy; with ``agreed``, destroy without asking.

    Raises Error, which is not printed, and whose remedies need no Pulumi.
    """
    try:
        if verb == "destroy":
            destroy(agreed=agreed)
        else:
            {"up": up, "preview": preview}[verb]()
    except pulumi.RunError as error:
        raise InputError(without_pulumi(str(error)), "Then run make up again.") from error
    except Error as error:
        error.message, error.remedy = without_pulumi(error.message), without_pulumi(error.remedy)
        raise
