"""The options and the help of ``python -m seed index``. ``work`` runs the commands."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred


@click.group(short_help="Build the vector indexes that the stack declares.")
def index() -> None:
    """Build the vector indexes that the stack declares, or show their state.

    A declared index waits until its table has the declared rows (one, if none are declared). Connect as the owner of
    the tables: the declaration is in the ledger, which `pulumi up` writes.

    Exit codes: 0 all indexes are built; 1 an index waits, could not be built, or has too low a recall; 2 bad usage
    or a bad declaration; 3 the database cannot be reached or refuses the login; 130 interrupted.
    """


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")


@index.command()
@JSON
@deferred
def status() -> None:
    """Show the declared indexes. Exit code 1 if one is not built as declared.

    Example: python -m seed index status
    """


@index.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory of a build, such as 2GB. [default: half of that of a server on this machine]",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="First build each index on a copy of so many rows, and stop if its recall is below the declared minimum.",
)
@JSON
@deferred
def build() -> None:
    """Build the declared indexes whose tables have their rows, and drop those that are no longer declared.

    An index with another definition is replaced: queries use the old one until the new one is ready. A build that was
    interrupted begins again with the next run. Afterwards the tables are analyzed, and a declared recall is measured.

    Example: python -m seed index build
    """


@index.command()
@click.argument("name", metavar="NAME")
@JSON
@deferred
def drop() -> None:
    """Drop a declared index, for example before a large load. `build` builds it again.

    Example: python -m seed index drop items_embedding_hnsw
    """
