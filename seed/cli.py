"""The command group of ``python -m seed``, and of ``pgvector-seed`` in an installation."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import HELP, help_width
from pgvector_seed.common.version import VERSION

from .index.command import index
from .load.command import load
from .migrate.command import migrate
from .query.command import query
from .recall.command import recall
from .sample.command import sample
from .verify.command import verify


@click.group(context_settings={"terminal_width": help_width(), "help_option_names": HELP})
@click.version_option(VERSION, prog_name="pgvector-seed")
def cli() -> None:
    """Fill a pgvector database, index it, query it, measure its recall, verify it, and migrate its tables.

    The connection is libpq's: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGSERVICE and the others.

    Exit codes: 0 success; 1 a result is wrong; 2 bad usage or bad input; 3 the database cannot be reached
    or refuses the login; 130 interrupted.
    """


for command in (load, index, query, recall, sample, verify, migrate):
    cli.add_command(command)
