"""Run the commands of ``python -m seed migrate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pgvector_seed.common.text import lines, printable
from pgvector_seed.migrate import adopt, runner
from pgvector_seed.migrate import lint as squawk
from pgvector_seed.migrate.contract import DeclaredConnection
from pgvector_seed.migrate.declaration import Declaration, fault_of_schema
from pgvector_seed.migrate.files import create, load, load_if_present
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import deployment_schema
from pgvector_seed.migrate.lock import begun
from pgvector_seed.migrate.session import Limits, fault_of_duration
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated

from .output import findings_as_text, plan_as_data, plan_as_text, status_as_data, status_as_text
from .place import add_place, with_place_in_remedies


@with_place_in_remedies
def plan(*, directory: str, schema: str | None, allow_down: bool, as_json: bool) -> None:
    """Print the steps of the next ``apply``."""
    _refuse_invalid_schema(schema)
    with connect() as connection:
        migrations = load(Path(directory))
        options = _options(allow_down=allow_down)
        preview = runner.preview(connection, migrations, _declaration(connection, schema), options)
        unfinished = begun(connection, preview.ledger)
    irreversible = {migration.id for migration in migrations if migration.down is None}
    if as_json:
        _print(plan_as_data(preview, irreversible))
    else:
        _print(add_place(plan_as_text(preview, irreversible, unfinished), directory, schema))


@with_place_in_remedies
def status(*, directory: str, as_json: bool) -> None:
    """Print every migration, and exit with 1 if the ledger and the files do not match."""
    with connect() as connection, translated("reading the ledger"):
        ledger = read_ledger(connection)
        unfinished = begun(connection, ledger)
    data = status_as_data(load(Path(directory)), ledger, unfinished)
    if as_json:
        _print({**data, "remedy": data["remedy"] and add_place(data["remedy"], directory)})
    else:
        _print(add_place(status_as_text(data, unfinished), directory))
    if not data["right"]:
        raise SystemExit(1)


@with_place_in_remedies
def apply(*, directory: str, schema: str | None, as_json: bool, allow_down: bool, **limits: str) -> None:
    """Run the migrations that are not in the ledger."""
    _refuse_invalid_schema(schema)
    options = _options(allow_down=allow_down, **limits)
    with connect() as connection:
        migrations = load(Path(directory))
        declaration = _declaration(connection, schema)
        result = runner.apply(connection, migrations, declaration, _reporter(as_json=as_json), options)
    if as_json:
        _print({"ledger": result.ledger.id, "undone": result.plan.undo, "applied": result.plan.apply})
    elif not (result.plan.undo or result.plan.apply):
        click.echo("Nothing to run: the database has every migration.")


@with_place_in_remedies
def down(*, to: str, directory: str, schema: str | None, as_json: bool, **limits: str) -> None:
    """Undo the migrations after ``to``."""
    _refuse_invalid_schema(schema)
    limit = _limits(**limits)
    with connect() as connection:
        migrations, schema = load_if_present(Path(directory)), _declaration(connection, schema, to_undo=True).schema
        ids = runner.undo(connection, migrations, schema, to, _reporter(as_json=as_json), limit)
    if as_json:
        _print({"undone": ids})
    elif not ids:
        click.echo(f"Nothing to undo: no migration is applied after {to}.")


@with_place_in_remedies
def baseline(*, id_: str, directory: str, schema: str | None, as_json: bool, **limits: str) -> None:
    """Record the migrations up to ``id_`` without running them."""
    _refuse_invalid_schema(schema)
    limit = _limits(**limits)
    with connect() as connection:
        migrations, declaration = load(Path(directory)), _declaration(connection, schema)
        ids = adopt.baseline(connection, migrations, declaration, id_, _reporter(as_json=as_json), limit)
    if as_json:
        _print({"recorded": ids})
    elif not ids:
        click.echo(f"Nothing to record: {id_} is in the ledger.")


@with_place_in_remedies
def repair(*, id_: str, directory: str, schema: str | None, as_json: bool, **limits: str) -> None:
    """Accept an edited migration whose effect is in place."""
    _refuse_invalid_schema(schema)
    limit = _limits(**limits)
    with connect() as connection:
        migrations, schema = load(Path(directory)), _declaration(connection, schema).schema
        repaired = adopt.repair(connection, migrations, schema, id_, _reporter(as_json=as_json), limit)
    if as_json:
        _print({"repaired": repaired})
    elif not repaired:
        click.echo(f"Nothing to repair: the ledger and the files of {id_} agree.")


def new(*, name: str, directory: str, as_json: bool) -> None:
    """Create the files of a migration with the next number."""
    paths = [str(path) for path in create(Path(directory), name)]
    _print({"created": paths} if as_json else "\n".join(paths))


def lint(*, ids: tuple[str, ...], directory: str, as_json: bool) -> None:
    """Print the findings of squawk, and exit with 1 if there are any."""
    findings = squawk.findings(Path(directory), load(Path(directory)), ids)
    _print({"right": not findings, "findings": findings} if as_json else findings_as_text(findings))
    if findings:
        raise SystemExit(1)


def _declaration(connection: Connection, schema: str | None, *, to_undo: bool = False) -> Declaration:
    """Return the schema and this connection's address. Raises RefusedError as ``deployment_schema`` does."""
    with translated("reading the ledger"):
        schema = deployment_schema(read_ledger(connection), schema, to_undo=to_undo)
    info = connection.info
    address = DeclaredConnection(host=info.host, port=info.port, dbname=info.dbname)
    return Declaration(schema=schema, connection=address)


def _refuse_invalid_schema(schema: str | None) -> None:
    fault = None if schema is None else fault_of_schema(schema)
    if fault is not None:
        raise click.BadParameter(fault, param_hint="'--schema'")


def _options(*, allow_down: bool, **limits: str) -> runner.ApplyOptions:
    return runner.ApplyOptions(_limits(**limits), allow_down=allow_down, keep_declared=True)


def _limits(**limits: str) -> Limits:
    for name, limit in limits.items():
        fault = fault_of_duration(limit) if limit else None
        if fault is not None:
            raise click.BadParameter(fault, param_hint=f"'--{name.replace('_', '-')}'")
    return Limits(**limits)


def _reporter(*, as_json: bool) -> Callable[[str], None]:
    return lambda line: click.echo(printable(line), err=as_json)


def _print(data: dict[str, Any] | str) -> None:
    click.echo("\n".join(lines(data)) if isinstance(data, str) else json.dumps(data, indent=2))
