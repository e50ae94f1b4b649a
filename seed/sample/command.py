"""The options and the help of ``python -m seed sample``. ``work`` runs it."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred


@click.command()
@click.option("--replace", is_flag=True, help="Overwrite other vectors that have the ids 1 to 3.")
@click.option("--unless-changed", is_flag=True, help="Insert nothing if the table is not the article's; print a line.")
@click.option("--schema", help="The schema of the deployment. [default: the ledger's]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
@deferred
def sample() -> None:
    """Insert the article's three vectors, and check the three answers.

    It can be run again. Only the rows with ids 1 to 3 are written and read.

    Example: python -m seed sample --json
    """
