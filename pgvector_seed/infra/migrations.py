"""The migrations as a Pulumi resource, applied by the package ``migrate``.

The state keeps checksums, never SQL. The provider class is at module level and has no attributes, so that Pulumi
pickles its name only, and a later delete runs the code that is installed then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
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
    UpdateResult,
)

from pgvector_seed.common.errors import InputError
from pgvector_seed.infra.address import LED_ASTRAY_BY
from pgvector_seed.infra.comparison import changed_on_destroy, edited, faults_of_declaration, is_applied, planned
from pgvector_seed.infra.dynamic import ConnectingProvider
from pgvector_seed.infra.process import report
from pgvector_seed.infra.properties import (
    INPUTS,
    Properties,
    apply_inputs,
    as_text,
    declaration,
    irreversible,
    options,
    outputs_of,
)
from pgvector_seed.infra.state import (
    TO_HAND_OVER,
    WITHOUT_LEDGER,
    connect_to_read,
    needs_handover,
    read_expected_ledger,
    refuse_later_up,
)
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, checksums, down_checksums, load_if_present
from pgvector_seed.migrate.lock import begun
from pgvector_seed.migrate.runner import ApplyOptions, revert
from pgvector_seed.migrate.script import file_texts, refuse_faults
from pgvector_seed.postgres.connection import connect


class MigrationsProvider(ConnectingProvider):
    """Applies missing migrations on create and update, reads the ledger, and obeys ``on_destroy`` on delete."""

    def check(self, olds: Properties, news: Properties) -> CheckResult:
        """Refuse invalid files, another database and a removal of the roles, at preview already, without connecting."""
        failures = []
        try:
            refuse_faults(file_texts(edited(olds, news)))
        except InputError as refused:
            failures.append(CheckFailure("migrations", str(refused)))
        failures += [CheckFailure("declaration", fault) for fault in faults_of_declaration(olds, news)]
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs, and the files with the ledger as it was last read; print the steps. Never replaces.

        Raises RefusedError for edited history. ``check`` does not get the ledger, which may have been repaired.
        """
        for line in [*planned(olds, news).lines(irreversible(news)), *changed_on_destroy(olds, news)]:
            report(line)
        same = all(olds.get(name) == news.get(name) for name in (*INPUTS, "__provider"))
        return DiffResult(changes=not (same and is_applied(olds, news)))

    def create(self, props: Properties) -> CreateResult:
        """Apply the migrations that are not in the ledger."""
        outputs = apply_inputs(props)
        return CreateResult(outputs["ledger"], outputs)

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """Apply the missing migrations. If only the connection changed, connect, and run nothing."""
        same = all(olds.get(name) == news[name] for name in ("downs", "declaration"))
        if same and is_applied(olds, news):
            with connect(news["conninfo"]):  # the state must not keep a wrong password
                return UpdateResult({**olds, **news})
        return UpdateResult(apply_inputs(news, ledger_id=olds["ledger"]))

    def read(self, id_: str, props: Properties) -> ReadResult:
        """Return the ledger as it is now, so that a refresh shows drift; nothing if the database has no ledger."""
        for name in filter(os.environ.get, LED_ASTRAY_BY):
            report(
                f"{name} is set, with which the PostgreSQL provider refuses to connect: env -u {name} pulumi refresh"
            )
        with connect_to_read(props["conninfo"]) as connection:
            ledger = read_expected_ledger(connection, props["ledger"])
            if ledger is None:
                report(WITHOUT_LEDGER.format(props["ledger"]))
                return ReadResult(None, {})
            unfinished = begun(connection, ledger)
            if unfinished:
                report(f"{unfinished.message}. {unfinished.remedy}")
            outputs = outputs_of(connection, props, ledger)
            outputs["downs"] = down_checksums(ledger.migrations.values())
            if ledger.declaration != declaration(props):
                outputs["declaration"] = as_text(ledger.declaration)
            if needs_handover(connection, props["conninfo"]):
                report(TO_HAND_OVER)
                outputs["handover"] = True
            return ReadResult(id_, outputs)

    def delete(self, _id: str, props: Properties) -> None:
        """Undo all migrations if both the last ``up`` of this state and the ledger have ``on_destroy`` "revert".

        Does not connect if the state has "retain". Raises RefusedError if only the ledger has it.
        """
        if declaration(props).on_destroy == "revert":
            with connect(props["conninfo"]) as connection:
                refuse_later_up(read_expected_ledger(connection, props["ledger"]))
                migrations, schema = load_if_present(Path(props["directory"])), declaration(props).schema
                revert(connection, migrations, schema, report, limits=options(props).limits)


class Migrations(Resource, module="pgvector_seed", name="Migrations"):
    """The migrations of a folder, applied to a database.

    ``directory`` is relative to the program's current folder; ``migrations`` are its files. ``contract`` is the
    deployment's contract, and ``applied`` maps each migration's id to its checksum. ``tables`` (with views) and
    ``sequences`` are the relations in the schema that belong to the role that runs the migrations.
    """

    contract: pulumi.Output[dict[str, Any]]
    applied: pulumi.Output[dict[str, str]]
    ledger: pulumi.Output[str]
    tables: pulumi.Output[list[str]]
    sequences: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        conninfo: pulumi.Input[str],
        directory: str,
        migrations: Sequence[Migration],
        declaration: pulumi.Input[Declaration],
        options: ApplyOptions,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "conninfo": pulumi.Output.secret(conninfo),
            "directory": directory,
            "migrations": checksums(migrations),
            "downs": down_checksums(migrations),
            "declaration": pulumi.Output.from_input(declaration).apply(as_text),
            "options": as_text(options),
        }
        outputs = dict.fromkeys(("contract", "applied", "irreversible", "ledger", "tables", "sequences"))
        super().__init__(MigrationsProvider(), name, {**inputs, **outputs}, opts)
