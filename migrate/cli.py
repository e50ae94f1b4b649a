"""The commands of ``python -m migrate``. What they import is imported when they run: --help does not wait for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from migrate.engine import Options
    from migrate.files import Migration
    from migrate.session import Limits
    from postgres.connection import Connection
    from postgres.contract import Declaration

Command = Callable[..., None]


@click.group()
def cli() -> None:
    """Bring a database to what a folder of SQL migrations says, with a ledger of what was done.

    It is the same ledger and the same engine as in `pulumi up`: either may go first. The connection is
    libpq's: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGSERVICE and the others.

    Exit codes: 0 right, 1 the server refused a migration, or `status` or `lint` found something, 2 bad
    usage, bad files or a refused plan, 3 the database cannot be reached or refuses the login, 130 interrupted.
    """


def _duration(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    from migrate.session import fault_of_duration

    return _judged(given, fault_of_duration(given) if given else "")


def _schema(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    from postgres.contract import fault_of_schema

    return given if given is None else _judged(given, fault_of_schema(given))


def _judged(given: str, fault: str) -> str:
    if fault:
        raise click.BadParameter(fault)
    return given


DIRECTORY = click.option(
    "--directory", type=click.Path(path_type=Path), default="migrations", show_default=True, help="The SQL files."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
SCHEMA = click.option(
    "--schema", callback=_schema, help="Where the tables are. [default: the ledger's; public without one]"
)
ALLOW_DOWN = click.option("--allow-down", is_flag=True, help="Undo migrations at the end whose files are gone.")
LOCK_TIMEOUT = click.option(
    "--lock-timeout", default="", callback=_duration, help="Wait for a lock no longer. [default: the session's, or 10s]"
)
STATEMENT_TIMEOUT = click.option(
    "--statement-timeout", default="", callback=_duration, help="Run a statement no longer. [default: the session's]"
)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


LIMITS = _options(LOCK_TIMEOUT, STATEMENT_TIMEOUT)


@cli.command()
@_options(DIRECTORY, SCHEMA, ALLOW_DOWN, JSON)
def plan(*, directory: Path, schema: str | None, allow_down: bool, as_json: bool) -> None:
    """Show what `apply` would do. Nothing is changed.

    Example: python -m migrate plan --json
    """
    from migrate.engine import preview
    from migrate.output import plan_as_data, plan_as_text

    with _database(as_json=as_json) as connection:
        migrations = _load(directory)
        found = preview(connection, migrations, _declaration(connection, schema), _options_of(allow_down=allow_down))
    irreversible = {migration.id for migration in migrations if migration.down is None}
    _show(plan_as_data(found, irreversible) if as_json else plan_as_text(found, irreversible))


@cli.command()
@_options(DIRECTORY, JSON)
def status(*, directory: Path, as_json: bool) -> None:
    """Show every migration, in the ledger or in the files. Exit code 1 when the two do not fit.

    Example: python -m migrate status
    """
    from migrate.output import status_as_data, status_as_text
    from postgres.errors import translated
    from postgres.ledger import read_ledger

    with _database(as_json=as_json) as connection, translated("reading the ledger"):
        data = status_as_data(_load(directory), read_ledger(connection))
    _show(data if as_json else status_as_text(data))
    if not data["right"]:
        raise SystemExit(1)


@cli.command()
@_options(DIRECTORY, SCHEMA, ALLOW_DOWN, LIMITS, JSON)
def apply(*, directory: Path, schema: str | None, as_json: bool, **given: Any) -> None:
    """Run what the ledger does not have yet.

    Example: python -m migrate apply --lock-timeout 5s
    """
    from migrate.engine import apply as run

    with _database(as_json=as_json) as connection:
        migrations = _load(directory)
        done = run(
            connection, migrations, _declaration(connection, schema), _report(as_json=as_json), _options_of(**given)
        )
    if as_json:
        _show({"ledger": done.ledger.id, "undone": done.plan.undo, "applied": done.plan.apply})
    elif not (done.plan.undo or done.plan.apply):
        click.echo("Nothing to run: the database has every migration.")


@cli.command()
@click.option("--to", required=True, metavar="ID", help="The newest migration that stays; `base` undoes all of them.")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
def down(*, to: str, directory: Path, schema: str | None, as_json: bool, **given: Any) -> None:
    """Undo what was applied after ID, newest first.

    Each down is run from its file, which must be what the ledger keeps. If the file is gone, the ledger's
    copy is run, unless another role may write to the ledger.

    Example: python -m migrate down --to 0001_create_embeddings
    """
    from migrate.engine import undo
    from migrate.files import load_left

    with _database(as_json=as_json) as connection:
        migrations, schema = load_left(directory), _declaration(connection, schema, to_undo=True).schema
        ids = undo(connection, migrations, schema, to, _report(as_json=as_json), _limits(**given))
    if as_json:
        _show({"undone": ids})
    elif not ids:
        click.echo(f"Nothing to undo: {to} is the newest.")


@cli.command()
@click.argument("id_", metavar="ID")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
def baseline(*, id_: str, directory: Path, schema: str | None, as_json: bool, **given: Any) -> None:
    """Take over tables that are there already: record the migrations up to ID without running them.

    First they are run in a scratch schema, which is rolled back, and what they make is compared with
    what is there. Not compared: rows, owners, grants, comments, the order of columns.

    Example: python -m migrate baseline 0001_create_embeddings
    """
    from migrate.adopt import baseline as take_over

    with _database(as_json=as_json) as connection:
        migrations, declaration = _load(directory), _declaration(connection, schema)
        ids = take_over(connection, migrations, declaration, id_, _report(as_json=as_json), _limits(**given))
    if as_json:
        _show({"recorded": ids})
    elif not ids:
        click.echo(f"Nothing to record: {id_} is in the ledger.")


@cli.command()
@click.argument("id_", metavar="ID")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
def repair(*, id_: str, directory: Path, schema: str | None, as_json: bool, **given: Any) -> None:
    """Accept an edited migration whose effect is in place, after the same comparison as `baseline`.

    Example: python -m migrate repair 0001_create_embeddings
    """
    from migrate.adopt import repair as accept

    with _database(as_json=as_json) as connection:
        migrations, schema = _load(directory), _declaration(connection, schema).schema
        repaired = accept(connection, migrations, schema, id_, _report(as_json=as_json), _limits(**given))
    if as_json:
        _show({"repaired": repaired})
    elif not repaired:
        click.echo(f"Nothing to repair: the ledger has {id_} as it is in its files.")


@cli.command()
@click.argument("name")
@_options(DIRECTORY, JSON)
def new(*, name: str, directory: Path, as_json: bool) -> None:
    """Create the files of a migration with the next number.

    Example: python -m migrate new "add label"
    """
    from migrate.new import create

    with _errors(as_json=as_json):
        paths = [str(path) for path in create(directory, name)]
    _show({"created": paths} if as_json else "\n".join(paths))


@cli.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_options(DIRECTORY, JSON)
def lint(*, ids: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """Look with squawk for what would lock or break a table in production. Exit code 1 when it finds something.

    Example: python -m migrate lint 0001_create_embeddings
    """
    from migrate.lint import findings
    from migrate.output import findings_as_text

    with _errors(as_json=as_json):
        found = findings(directory, _load(directory), ids)
    _show({"right": not found, "findings": found} if as_json else findings_as_text(found))
    if found:
        raise SystemExit(1)


@contextmanager
def _database(*, as_json: bool) -> Iterator[Connection]:
    from postgres.connection import connect

    with _errors(as_json=as_json), connect() as connection:
        yield connection


@contextmanager
def _errors(*, as_json: bool) -> Iterator[None]:
    from postgres.errors import Error

    try:
        yield
    except Error as error:
        if as_json:
            _show({"error": error.message, "remedy": error.remedy})
        raise
    except OSError as error:
        if as_json:
            _show({"error": f"{error.filename}: {error.strerror}", "remedy": ""})
        raise


def _load(directory: Path) -> list[Migration]:
    from migrate.files import load

    return load(directory)


def _declaration(connection: Connection, schema: str | None, *, to_undo: bool = False) -> Declaration:
    """What a new ledger is to declare; one that is there keeps what it declares but for the schema, which must fit."""
    from postgres.contract import Declaration
    from postgres.errors import translated
    from postgres.ledger import deployment_schema, read_ledger

    with translated("reading the ledger"):
        schema = deployment_schema(read_ledger(connection), schema, to_undo=to_undo)
    info = connection.info
    return Declaration(schema=schema, connection={"host": info.host, "port": info.port, "dbname": info.dbname})


def _options_of(*, allow_down: bool, **limits: str) -> Options:
    from migrate.engine import Options

    return Options(_limits(**limits), allow_down=allow_down, keep_declared=True)


def _limits(*, lock_timeout: str = "", statement_timeout: str = "") -> Limits:
    from migrate.session import Limits

    return Limits(lock_timeout, statement_timeout)


def _report(*, as_json: bool) -> Callable[[str], None]:
    from postgres.errors import printable

    return lambda line: click.echo(printable(line), err=as_json)


def _show(data: dict[str, Any] | str) -> None:
    from postgres.errors import lines

    click.echo("\n".join(lines(data)) if isinstance(data, str) else json.dumps(data, indent=2))
