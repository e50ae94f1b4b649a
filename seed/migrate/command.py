"""The commands of ``python -m seed migrate``: their options and their help. What they do is in ``work``."""

from __future__ import annotations

from collections.abc import Callable

import click

from pgvector_seed.common.commands import deferred

Command = Callable[..., None]


@click.group()
def migrate() -> None:
    """Bring a database to what a folder of SQL migrations says, with a ledger of what was done.

    It is the same ledger and the same engine as in `pulumi up`: either may go first. The connection is
    libpq's: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGSERVICE and the others.

    Exit codes: 0 right, 1 the server refused a migration, or `status` or `lint` found something, 2 bad
    usage, bad files or a refused plan, 3 the database cannot be reached or refuses the login, 130 interrupted.
    """


DIRECTORY = click.option(
    "--directory", type=click.Path(), default="migrations", show_default=True, help="The SQL files."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
SCHEMA = click.option("--schema", help="Where the tables are. [default: the ledger's; public without one]")
ALLOW_DOWN = click.option("--allow-down", is_flag=True, help="Undo migrations at the end whose files are gone.")
LOCK_TIMEOUT = click.option(
    "--lock-timeout", default="", help="Wait for a lock no longer. [default: the session's, or 10s]"
)
STATEMENT_TIMEOUT = click.option(
    "--statement-timeout", default="", help="Run a statement no longer. [default: the session's]"
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
    """Show what `apply` would do. Nothing is changed.

    Example: python -m seed migrate plan --json
    """


@migrate.command()
@_options(DIRECTORY, JSON)
@deferred
def status() -> None:
    """Show every migration, in the ledger or in the files. Exit code 1 when the two do not fit.

    Example: python -m seed migrate status
    """


@migrate.command()
@_options(DIRECTORY, SCHEMA, ALLOW_DOWN, LIMITS, JSON)
@deferred
def apply() -> None:
    """Run what the ledger does not have yet.

    Example: python -m seed migrate apply --lock-timeout 5s
    """


@migrate.command()
@click.option("--to", required=True, metavar="ID", help="The newest migration that stays; `base` undoes all of them.")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
@deferred
def down() -> None:
    """Undo what was applied after ID, newest first.

    Each down is run from its file, which must be what the ledger keeps. If the file is gone, the ledger's
    copy is run, unless another role may write to the ledger.

    Example: python -m seed migrate down --to 0001_create_embeddings
    """


@migrate.command()
@click.argument("id_", metavar="ID")
@_options(DIRECTORY, SCHEMA, LIMITS, JSON)
@deferred
def baseline() -> None:
    """Take over tables that are there already: record the migrations up to ID without running them.

    First they are run in a scratch schema, which is rolled back, and what they make is compared with
    what is there. Not compared: rows, owners, grants, comments, the order of columns.

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
    """Look with squawk for what would lock or break a table in production. Exit code 1 when it finds something.

    Example: python -m seed migrate lint 0001_create_embeddings
    """
