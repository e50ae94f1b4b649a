"""The migrations as a Pulumi resource, applied by the package ``migrate``.

The state keeps checksums, never SQL. The provider class is at module level and has no attributes, so that Pulumi
pickles its name only, and a later delete runs the code that is installed then.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import Error, InputError, RefusedError
from pgvector_seed.common.remedies import IN_CHECKOUT, in_checkout, setting_name
from pgvector_seed.infra.address import LED_ASTRAY_BY
from pgvector_seed.infra.interrupt import end_with_engine
from pgvector_seed.infra.state import (
    ANOTHER_DATABASE,
    TO_HAND_OVER,
    WITHOUT_LEDGER,
    connect_to_read,
    needs_handover,
    read_expected_ledger,
    refuse_later_up,
)
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, checksums, down_checksums, load, load_if_present
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.lock import begun
from pgvector_seed.migrate.plan import Plan, plan
from pgvector_seed.migrate.runner import ApplyOptions, apply, revert
from pgvector_seed.migrate.script import file_texts, refuse_faults
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.catalog import owned_relations
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated

Properties = dict[str, Any]
INPUTS = ("conninfo", "directory", "migrations", "downs", "declaration", "options")

_WITHOUT_OWNER = "the tables belong to {}, but the stack has no roles any more. Set them again ({}): {}" + in_checkout(
    '. To keep the data without roles: docs/roles.md, "A stack without roles again"'
)
_AGAIN = in_checkout(
    'with make, first: eval "$(make env)"; for a role that the stack did not create, roles.KIND.existing'
)
_AGAIN_ELSEWHERE = "for a role that the stack did not create, Role(NAME, existing=True)"


class MigrationsProvider(ResourceProvider):
    """Applies missing migrations on create and update, reads the ledger, and obeys ``on_destroy`` on delete."""

    serialize_as_secret_always = False

    def configure(self, _request: ConfigureRequest) -> None:
        """Prepare the provider's process. The SDK calls this once, before any other method."""
        end_with_engine()
        print_errors_in_one_line()

    def check(self, olds: Properties, news: Properties) -> CheckResult:
        """Refuse invalid files, another database and a removal of the roles, at preview already, without connecting."""
        failures = []
        try:
            refuse_faults(file_texts(_edited(olds, news)))
        except InputError as refused:
            failures.append(CheckFailure("migrations", str(refused)))
        if all(isinstance(side.get("declaration"), str) for side in (olds, news)):  # an Output is unknown at preview
            before, after = (declaration(side).connection.dbname for side in (olds, news))
            if before != after:
                failures.append(CheckFailure("declaration", ANOTHER_DATABASE.format(before, after)))
            if declaration(olds).roles and not declaration(news).roles:
                failures.append(CheckFailure("declaration", _without_owner(declaration(olds).roles)))
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs, and the files with the ledger as it was last read; print the steps. Never replaces.

        Raises RefusedError for edited history. ``check`` does not get the ledger, which may have been repaired.
        """
        for line in [*planned(olds, news).lines(irreversible(news)), *_changed_on_destroy(olds, news)]:
            report(line)
        same = all(olds.get(name) == news.get(name) for name in (*INPUTS, "__provider"))
        return DiffResult(changes=not (same and _is_applied(olds, news)))

    def create(self, props: Properties) -> CreateResult:
        """Apply the migrations that are not in the ledger."""
        outputs = apply_inputs(props)
        return CreateResult(outputs["ledger"], outputs)

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """Apply the missing migrations. If only the connection changed, connect, and run nothing."""
        same = all(olds.get(name) == news[name] for name in ("downs", "declaration"))
        if same and _is_applied(olds, news):
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
            outputs = _outputs(connection, props, ledger)
            outputs["downs"] = down_checksums(ledger.migrations.values())
            if ledger.declaration != declaration(props):
                outputs["declaration"] = _as_text(ledger.declaration)
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


def _without_owner(roles: Mapping[str, str]) -> str:
    if IN_CHECKOUT:
        again = [f"pulumi config set --path roles.{kind} {shlex.quote(name)}" for kind, name in roles.items()]
        return _WITHOUT_OWNER.format(roles["owner"], _AGAIN, "; ".join(again))
    named = ", ".join(f"{kind}=Role({name!r})" for kind, name in roles.items())
    return _WITHOUT_OWNER.format(roles["owner"], _AGAIN_ELSEWHERE, f"VectorDatabaseArgs(roles=Roles({named}))")


def _changed_on_destroy(olds: Properties, news: Properties) -> Iterator[str]:
    """Yield a line if the declared ``on_destroy`` changes: a destroy obeys the last ``up``, not the configuration."""
    if all(isinstance(side.get("declaration"), str) for side in (olds, news)):
        before, after = declaration(olds).on_destroy, declaration(news).on_destroy
        if before != after:
            name = setting_name("onDestroy")
            yield f"{name}: {before} becomes {after} with the next up; until then a destroy obeys {before}"


def _is_applied(olds: Properties, news: Properties) -> bool:
    return olds.get("applied") == news.get("migrations") and not olds.get("handover")


def _edited(olds: Properties, news: Properties) -> list[Migration]:
    """Return the migrations whose files differ from those of the last ``up``."""
    changed = {
        id_
        for name in ("migrations", "downs")
        for id_, checksum in news[name].items()
        if olds.get(name, {}).get(id_) != checksum
    }
    return [migration for migration in load(Path(news["directory"])) if migration.id in changed] if changed else []


def planned(olds: Properties, news: Properties) -> Plan:
    """Return the steps from the ledger as it was last read to the files.

    Raises RefusedError as ``plan`` does. If the files are those of the last ``up``, as in a refresh, it returns no
    steps instead.
    """
    ledger = dict(sorted(olds["applied"].items()))
    try:
        without_down = olds["irreversible"] if "irreversible" in olds else irreversible(olds)
        return plan(news["migrations"], ledger, without_down, allow_down=options(news).allow_down)
    except RefusedError as refused:
        if news["migrations"] == olds["migrations"]:
            return Plan()
        remedy = f"{refused.remedy} After a change of the ledger by {PROGRAM} migrate: pulumi refresh"
        raise RefusedError(refused.message, remedy) from refused


def irreversible(props: Properties) -> list[str]:
    """Return the ids of the migrations that have no down, by the resource's inputs."""
    return [id_ for id_, checksum in props.get("downs", {}).items() if not checksum]


def report(line: str) -> None:
    """Print a line of progress, which the engine shows at once."""
    print(line, flush=True)


def print_errors_in_one_line() -> None:
    """Make the SDK send an Error to the engine without its traceback. Must be called in the provider's process.

    All other exceptions keep their traceback, also those of other dynamic resources in the same process.
    """
    sdk = sys.modules["__main__"]
    if getattr(sdk, "traceback", None) is traceback:
        sdk.traceback = SimpleNamespace(**{**vars(traceback), "format_exc": _format_error})  # type: ignore[attr-defined]


def _format_error() -> str:
    error = sys.exc_info()[1]
    return f"{type(error).__name__}: {error}\n" if isinstance(error, Error) else traceback.format_exc()


def apply_inputs(props: Properties, ledger_id: str | None = None) -> Properties:
    """Apply the migrations and the declaration of the resource's inputs, and return its outputs.

    Raises RefusedError if the database has another ledger than ``ledger_id``, or the files changed since the preview.
    """
    migrations = load(Path(props["directory"]))
    if (checksums(migrations), down_checksums(migrations)) != (props["migrations"], props["downs"]):
        raise RefusedError("the migration files changed while Pulumi ran", "Run the same command again.")
    with connect(props["conninfo"]) as connection:
        if ledger_id and read_expected_ledger(connection, ledger_id) is None:
            report(WITHOUT_LEDGER.format(ledger_id))
        result = apply(connection, migrations, declaration(props), report, options(props))
        return _outputs(connection, props, result.ledger)


def declaration(props: Properties) -> Declaration:
    """Return the declaration in the resource's inputs."""
    return msgspec.json.decode(props["declaration"], type=Declaration)


def options(props: Properties) -> ApplyOptions:
    """Return the options in the resource's inputs, or the defaults for an old state, which has none."""
    values = json.loads(props.get("options", "{}"))
    return ApplyOptions(Limits(**values.pop("limits", {})), **values)


def _as_text(value: Declaration | ApplyOptions) -> str:
    data = as_data(value) if isinstance(value, Declaration) else dataclasses.asdict(value)
    return json.dumps(data, sort_keys=True)


def _outputs(connection: Connection, props: Properties, ledger: Ledger) -> Properties:
    inputs = {name: props[name] for name in INPUTS if name in props}
    with translated("reading the catalog"):
        tables, sequences = owned_relations(connection, ledger.declaration.schema)
    return {
        **inputs,
        "ledger": ledger.id,
        "applied": ledger.checksums,
        "irreversible": sorted(ledger.irreversible),
        "contract": ledger.contract,
        "tables": tables,
        "sequences": sequences,
    }


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
            "declaration": pulumi.Output.from_input(declaration).apply(_as_text),
            "options": _as_text(options),
        }
        outputs = dict.fromkeys(("contract", "applied", "irreversible", "ledger", "tables", "sequences"))
        super().__init__(MigrationsProvider(), name, {**inputs, **outputs}, opts)
