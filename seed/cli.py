"""The commands of ``python -m seed``."""

from __future__ import annotations

import click

from seed.verify.command import verify


@click.group()
def cli() -> None:
    """Fill a pgvector database, and check what it answers.

    The connection is libpq's: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGSERVICE and the others.

    Exit codes: 0 right, 1 a result is wrong, 2 bad usage or bad input, 3 the database cannot be reached
    or refuses the login, 130 interrupted.
    """


@cli.command()
@click.option("--replace", is_flag=True, help="Overwrite other vectors that are stored under the ids 1 to 3.")
@click.option("--schema", help="The schema of the deployment. [default: the ledger's]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def sample(*, replace: bool, schema: str | None, as_json: bool) -> None:
    """Insert the article's three vectors, and check the three answers.

    It can be run again, and touches the rows with ids 1 to 3 alone.

    Example: python -m seed sample --json
    """
    # Imported here, so that --help does not wait for the driver.
    from postgres.connection import connect
    from postgres.errors import Error, translated
    from seed.sample import output
    from seed.sample.answers import run as run_sample
    from seed.sample.check import checks

    try:
        with connect() as connection, translated("the sample"):
            answers = run_sample(connection, schema, replace=replace)
    except Error as error:
        if as_json:
            click.echo(output.error_as_json(error))
        raise
    found = checks(answers)
    if as_json:
        click.echo(output.as_json(answers, found))
    else:
        output.print_tables(answers, found)
    if not all(check.right for check in found):
        raise SystemExit(1)


cli.add_command(verify)
