"""The options and the help of ``python -m seed migrate``. ``work`` runs the commands."""

from __future__ import annotations

from collections.abc import Callable

import click

from pgvector_seed.common.commands import deferred

Command = Callable[..., None]


@click.group(short_help="Apply a folder of SQL migrations, and record them in a ledger.")
def migrate() -> None:
    """Apply a folder of SQL migrations to a database, and record them in its ledger.

    `pulumi up` uses the same ledger and the same code: either may run first. The connection is
    libpq's: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGSERVICE and the others.

    Exit codes: 0 success; 1 the server refused a migration, or `status` or `lint` reports a fault; 2 bad
    usage, bad files or a refused plan; 3 the database cannot be reached or refuses the login; 130 interrupted.
    """


FOLDER = "migrations"
DIRECTORY = click.option("--directory", type=click.Path(), default=FOLDER, show_default=True, help="The SQL files.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
SCHEMA = click.option("--schema", help="The schema of the tables. [default: the ledger's; public without a ledger]")
ALLOW_DOWN = click.option("--allow-down", is_flag=True, help="Undo the last migrations if their files are missing.")
LOCK_TIMEOUT = click.option(
    "--lock-timeout", default="", help="Limit the wait for a lock. [default: the session's, or 10s]"
)
STATEMENT_TIMEOUT = click.option(
    "--statement-timeout", default="", help="Limit the time of a statement. [default: the session's]"
)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


LIMITS = _options(LOCK_TIMEOUT, STATEMENT_TIMEOUT)


@migrate.command()
@_options(DIRECTORY, SCHEMA, ALLOW_DOWN, JSON)
@deferred
def plan() -> None:
    """Show the steps of the next `apply`, without running them.

    Example: python -m seed migrate plan --json
    """


@migrate.command()
@_options(DIRECTORY, JSON)
@deferred
def status() -> None:
    """Show every migration of the ledger and of the files. Exit code 1 if the two do not match.

    Example: python -m seed migrate status
    """


@migrate.command()
@_options(DIRECTORY, SCHEMA, ALLOW_DOWN, LIMITS, JSON)
@deferred
def apply() -> None:
    """Run the migrations that are not in the ledger.

    Example: python -m seed migrate apply --lock-timeout 5s
    """


@migrate.command()
@click.option("--to", required=True, metavar="ID", help="The newest migration that stays; `base` undoes all of them.")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
@deferred
def down() -> None:
    """Undo the migrations after ID, newest first.

    Each down runs from its file, which must equal the copy in the ledger. If the file is missing, the copy
    runs, unless another role may write to the ledger.

    Example: python -m seed migrate down --to 0001_create_embeddings
    """


@migrate.command()
@click.argument("id_", metavar="ID")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
@deferred
def baseline() -> None:
    """Take over existing tables: record the migrations up to ID without running them.

    First the migrations run in a scratch schema, which is rolled back, and its objects are compared with
    the existing ones. Not compared: rows, owners, grants, comments, the order of columns.

    Example: python -m seed migrate baseline 0001_create_embeddings
    """


@migrate.command()
@click.argument("id_", metavar="ID")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
@deferred
def repair() -> None:
    """Accept an edited migration whose effect is in place, after the same comparison as `baseline`.

    Example: python -m seed migrate repair 0001_create_embeddings
    """


@migrate.command()
@click.argument("name")
@_options(DIRECTORY, JSON)
@deferred
def new() -> None:
    """Create the files of a migration with the next number.

    Example: python -m seed migrate new "add label"
    """


@migrate.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_options(DIRECTORY, JSON)
@deferred
def lint() -> None:
    """Find statements that would lock or break a table in production, with squawk. Exit code 1 if there are any.

    Example: python -m seed migrate lint 0001_create_embeddings
    """
