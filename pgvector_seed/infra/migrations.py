"""The migrations as a Pulumi resource: a thin front of the package migrate.

The state keeps checksums, never SQL. The provider class stands at module level and has no state of
its own, so that Pulumi pickles no more than its name, and today's code runs a later delete.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
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
from pgvector_seed.common.remedies import OWN_PROGRAM, in_checkout
from pgvector_seed.infra.interrupt import end_with_engine
from pgvector_seed.infra.state import (
    ANOTHER_DATABASE,
    TO_HAND_OVER,
    WITHOUT_LEDGER,
    connect_to_read,
    is_anothers,
    own_ledger,
    refuse_later_up,
)
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, checksums, down_checksums, load, load_if_present
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.plan import Plan, plan
from pgvector_seed.migrate.runner import ApplyOptions, apply, revert
from pgvector_seed.migrate.script import file_texts, refuse_faults
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.catalog import owned_relations
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated

Properties = dict[str, Any]
INPUTS = ("conninfo", "directory", "migrations", "downs", "declaration", "options")

_WITHOUT_OWNER = (
    "the tables belong to {}, and the stack would have no roles any more. Set them again ({}): {}"
    + in_checkout('. To do without them, and keep the data: docs/roles.md, "A stack without roles again"')
)
_AGAIN = in_checkout(
    'with make, first: eval "$(make env)"; for a role that was there before the stack, roles.KIND.existing'
)
_AGAIN_ELSEWHERE = "for a role that was there before the stack, Role(NAME, existing=True)"


class MigrationsProvider(ResourceProvider):
    """create and update apply what is missing, read returns what the database says, delete obeys ``on_destroy``."""

    serialize_as_secret_always = False

    def configure(self, _request: ConfigureRequest) -> None:
        """Called once in the provider's process, before anything else."""
        end_with_engine()
        tell_errors_in_one_line()

    def check(self, olds: Properties, news: Properties) -> CheckResult:
        """Refuse bad files and another database, at preview already and without a connection."""
        failures = []
        try:
            refuse_faults(file_texts(_edited(olds, news)))
        except InputError as refused:
            failures.append(CheckFailure("migrations", str(refused)))
        if all(isinstance(side.get("declaration"), str) for side in (olds, news)):  # or it is not known yet
            before, after = (declaration(side).connection.dbname for side in (olds, news))
            if before != after:
                failures.append(CheckFailure("declaration", ANOTHER_DATABASE.format(before, after)))
            if declaration(olds).roles and not declaration(news).roles:
                failures.append(CheckFailure("declaration", _without_owner(declaration(olds).roles)))
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs, and the ledger as it was last read; say what will run. Never a replacement.

        Edited history is refused here and not by check, which does not know the ledger: it may have
        been repaired since.
        """
        for line in planned(olds, news).lines(irreversible(news)):
            report(line)
        same = all(olds.get(name) == news.get(name) for name in (*INPUTS, "__provider"))
        return DiffResult(changes=not (same and _is_applied(olds, news)))

    def create(self, props: Properties) -> CreateResult:
        """Apply what the ledger does not have: all of it, the rest of it, or nothing."""
        outputs = apply_inputs(props)
        return CreateResult(outputs["ledger"], outputs)

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """As create; where nothing but the credentials changed, they are tried, and no SQL is run."""
        same = all(olds.get(name) == news[name] for name in ("downs", "declaration"))
        if same and _is_applied(olds, news):
            with connect(news["conninfo"]):  # so that a wrong password is not kept
                return UpdateResult({**olds, **news})
        return UpdateResult(apply_inputs(news, ledger_id=olds["ledger"]))

    def read(self, id_: str, props: Properties) -> ReadResult:
        """The ledger as it is, so that a refresh shows drift. Without it, nothing here is ours."""
        with connect_to_read(props["conninfo"]) as connection:
            ledger = own_ledger(connection, props["ledger"])
            if ledger is None:
                report(WITHOUT_LEDGER.format(props["ledger"]))
                return ReadResult(None, {})
            if ledger.unfinished:
                report(f"{ledger.unfinished['file']} was begun and is not recorded as done")
            outputs = _outputs(connection, props, ledger)
            outputs["downs"] = down_checksums(ledger.migrations.values())
            if ledger.declaration != declaration(props):
                outputs["declaration"] = _as_text(ledger.declaration)
            if is_anothers(connection, props["conninfo"]):
                report(TO_HAND_OVER)
                outputs["handover"] = True
            return ReadResult(id_, outputs)

    def delete(self, _id: str, props: Properties) -> None:
        """Undo everything where the last ``up`` said revert, and the database says so, too.

        Otherwise do nothing, not even connect.
        """
        if declaration(props).on_destroy == "revert":
            with connect(props["conninfo"]) as connection:
                refuse_later_up(own_ledger(connection, props["ledger"]))
                migrations, schema = load_if_present(Path(props["directory"])), declaration(props).schema
                revert(connection, migrations, schema, report, limits=options(props).limits)


def _without_owner(roles: Mapping[str, str]) -> str:
    if OWN_PROGRAM:
        again = [f"pulumi config set --path roles.{kind} {shlex.quote(name)}" for kind, name in roles.items()]
        return _WITHOUT_OWNER.format(roles["owner"], _AGAIN, "; ".join(again))
    named = ", ".join(f"{kind}=Role({name!r})" for kind, name in roles.items())
    return _WITHOUT_OWNER.format(roles["owner"], _AGAIN_ELSEWHERE, f"VectorDatabaseArgs(roles=Roles({named}))")


def _is_applied(olds: Properties, news: Properties) -> bool:
    return olds.get("applied") == news.get("migrations") and not olds.get("handover")


def _edited(olds: Properties, news: Properties) -> list[Migration]:
    """The migrations whose texts are not those of the last ``up``."""
    changed = {
        id_
        for name in ("migrations", "downs")
        for id_, checksum in news[name].items()
        if olds.get(name, {}).get(id_) != checksum
    }
    return [found for found in load(Path(news["directory"])) if found.id in changed] if changed else []


def planned(olds: Properties, news: Properties) -> Plan:
    """The steps from the ledger as it was last read to the files.

    Raises RefusedError; but not for files that are those of the last ``up``, which a refresh asks about.
    """
    ledger = dict(sorted(olds["applied"].items()))
    try:
        stuck = olds["irreversible"] if "irreversible" in olds else irreversible(olds)
        return plan(news["migrations"], ledger, stuck, allow_down=options(news).allow_down)
    except RefusedError as refused:
        if news["migrations"] == olds["migrations"]:
            return Plan()
        remedy = f"{refused.remedy} After a change of the ledger by {PROGRAM} migrate: pulumi refresh"
        raise RefusedError(refused.message, remedy) from refused


def irreversible(props: Properties) -> list[str]:
    """The ids of the inputs that have no down."""
    return [id_ for id_, checksum in props.get("downs", {}).items() if not checksum]


def report(line: str) -> None:
    """Progress: what a provider prints is shown by the engine as it comes."""
    print(line, flush=True)


def tell_errors_in_one_line() -> None:
    """Have the provider's process, in which this is called, tell an Error without its traceback, which the SDK sends.

    Every other exception keeps it, also one of another dynamic resource in the same process.
    """
    sdk = sys.modules["__main__"]
    if getattr(sdk, "traceback", None) is traceback:
        sdk.traceback = SimpleNamespace(**{**vars(traceback), "format_exc": _format_error})  # type: ignore[attr-defined]


def _format_error() -> str:
    error = sys.exc_info()[1]
    return f"{type(error).__name__}: {error}\n" if isinstance(error, Error) else traceback.format_exc()


def apply_inputs(props: Properties, ledger_id: str | None = None) -> Properties:
    """Apply what the resource's inputs declare, and return its outputs.

    Raises RefusedError where the database has another ledger than ``ledger_id``.
    """
    migrations = load(Path(props["directory"]))
    if (checksums(migrations), down_checksums(migrations)) != (props["migrations"], props["downs"]):
        raise RefusedError("the migration files changed while Pulumi ran", "Run the same command again.")
    with connect(props["conninfo"]) as connection:
        if ledger_id and own_ledger(connection, ledger_id) is None:
            report(WITHOUT_LEDGER.format(ledger_id))
        done = apply(connection, migrations, declaration(props), report, options(props))
        return _outputs(connection, props, done.ledger)


def declaration(props: Properties) -> Declaration:
    """Return what the stack declares beyond its migrations, from the resource's inputs."""
    return msgspec.json.decode(props["declaration"], type=Declaration)


def options(props: Properties) -> ApplyOptions:
    """How the migrations are to be run, from the resource's inputs; a state of before has none."""
    found = json.loads(props.get("options", "{}"))
    return ApplyOptions(Limits(**found.pop("limits", {})), **found)


def _as_text(value: Declaration | ApplyOptions) -> str:
    data = as_data(value) if isinstance(value, Declaration) else dataclasses.asdict(value)
    return json.dumps(data, sort_keys=True)


def _outputs(connection: Connection, props: Properties, ledger: Ledger) -> Properties:
    inputs = {name: props[name] for name in INPUTS if name in props}
    with translated("reading the catalogue"):
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
    """The schema of a database, by the SQL files of a folder.

    ``directory`` is relative to the folder the program runs in, and ``migrations`` is what it holds.
    ``contract`` is what the deployment promises, and ``applied`` maps each migration's id to its checksum.
    ``tables`` (views, too) and ``sequences`` are what the role that they run as has in the schema.
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
