"""The migrations as a Pulumi resource: a thin front of the package migrate.

The state keeps checksums, never SQL. The provider class stands at module level and has no state of
its own, so that Pulumi pickles no more than its name, and today's code runs a later delete.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from migrate import apply, checksums, load, plan, revert
from postgres.connection import connect
from postgres.contract import Declaration
from postgres.errors import Error, RefusedError, translated
from postgres.ledger import Ledger, read_ledger

Properties = dict[str, Any]
MIGRATIONS_TYPE = "pulumi-python:dynamic/pgvector_seed:Migrations"  # what the class header below makes of it
INPUTS = ("conninfo", "directory", "migrations", "declaration")


class MigrationsProvider(ResourceProvider):
    """create and update apply what is missing, read returns the ledger, delete obeys ``on_destroy``."""

    serialize_as_secret_always = False

    def check(self, olds: Properties, news: Properties) -> CheckResult:
        """Refuse edited history, at preview already and without a database."""
        known = all(isinstance(side.get("migrations"), Mapping) for side in (olds, news))
        try:
            if known:
                plan(news["migrations"], olds["migrations"])
        except RefusedError as refused:
            return CheckResult(news, [CheckFailure("migrations", str(refused))])
        return CheckResult(news, [])

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs, and the ledger as it was last read. Never a replacement."""
        same = all(olds.get(name) == news.get(name) for name in (*INPUTS, "__provider"))
        return DiffResult(changes=not (same and olds.get("applied") == news.get("migrations")))

    def create(self, props: Properties) -> CreateResult:
        """Apply what the ledger does not have: all of it, the rest of it, or nothing."""
        with one_line_errors():
            outputs = apply_inputs(props)
            return CreateResult(outputs["ledger"], outputs)

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """As create; where nothing but the credentials changed, no connection is made."""
        with one_line_errors():
            wanted = (news["migrations"], news["declaration"])
            if wanted == (olds["applied"], olds["declaration"]):
                return UpdateResult({**olds, **news})
            return UpdateResult(apply_inputs(news))

    def read(self, id_: str, props: Properties) -> ReadResult:
        """The ledger as it is, so that a refresh shows drift. A database without one has nothing of ours."""
        with one_line_errors(), connect(props["conninfo"]) as connection, translated("reading the ledger"):
            ledger = read_ledger(connection)
            return ReadResult(id_, _outputs(props, ledger)) if ledger else ReadResult(None, {})

    def delete(self, _id: str, props: Properties) -> None:
        """Undo everything where the last ``up`` said revert; otherwise do nothing, not even connect."""
        if declaration(props).on_destroy == "revert":
            with one_line_errors(), connect(props["conninfo"]) as connection:
                revert(connection, report)


def report(line: str) -> None:
    """Progress: what a provider prints is shown by the engine as it comes."""
    print(line, flush=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """The SDK sends the whole traceback of an exception to the operator; ours say all in one line."""
    try:
        yield
    except Error as error:
        sys.tracebacklimit = 0
        error.__traceback__ = error.__cause__ = None
        type(error).__module__ = "builtins"
        raise


def apply_inputs(props: Properties) -> Properties:
    """Apply what the resource's inputs declare, and return its outputs."""
    migrations = load(Path(props["directory"]))
    if checksums(migrations) != props["migrations"]:
        raise RefusedError("the migration files changed while Pulumi ran", "Run the same command again.")
    with connect(props["conninfo"]) as connection:
        return _outputs(props, apply(connection, migrations, declaration(props), report))


def declaration(props: Properties) -> Declaration:
    """What the stack declares beyond its migrations, from the resource's inputs."""
    return Declaration(**json.loads(props["declaration"]))


def _outputs(props: Properties, ledger: Ledger) -> Properties:
    inputs = {name: props[name] for name in INPUTS}
    return {**inputs, "ledger": ledger.id, "applied": ledger.checksums, "contract": ledger.contract}


class Migrations(Resource, module="pgvector_seed", name="Migrations"):
    """The schema of a database, by the SQL files of a folder.

    ``directory`` is relative to the folder the program runs in. ``contract`` is what the deployment
    promises, and ``applied`` maps each migration's id to its checksum.
    """

    contract: pulumi.Output[dict[str, Any]]
    applied: pulumi.Output[dict[str, str]]
    ledger: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        conninfo: pulumi.Input[str],
        directory: str,
        migrations: Mapping[str, str],
        declaration: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "conninfo": pulumi.Output.secret(conninfo),
            "directory": directory,
            "migrations": dict(migrations),
            "declaration": declaration,
        }
        outputs = dict.fromkeys(("contract", "applied", "ledger"))
        super().__init__(MigrationsProvider(), name, {**inputs, **outputs}, opts)
