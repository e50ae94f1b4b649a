"""The options and the help of ``python -m seed verify``. ``work`` runs it."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred

NAMES = ("text", "json", "junit", "github", "prometheus")
TIME_LIMIT_SECONDS = 60.0


@click.command()
@click.option("--contract", metavar="FILE", help="The contract as JSON; - is standard input.")
@click.option("--stack", metavar="NAME", help="Read the contract from a stack of the Pulumi project here.")
@click.option("--table", metavar="NAME", help="Check one table, with a contract made from the catalog.")
@click.option("--recall", metavar="K:MINIMUM", help="With --table: the lowest recall of the K nearest neighbors.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only these checks.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave out these checks.")
@click.option("--list", "list_", is_flag=True, help="List the checks.")
@click.option("--strict", is_flag=True, help="Fail if a check is skipped.")
@click.option("--known", metavar="FILE", help="Do not fail by what failed in this report of --format json.")
@click.option("--replica", is_flag=True, help="Wait until the standby has caught up with its primary.")
@click.option("--try-writes", is_flag=True, help="As the writer: insert, change and delete a row, and roll back.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=86400),
    default=TIME_LIMIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="End the run after this time.",
)
@click.option("--format", "format_", type=click.Choice(NAMES), default="text", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False), help="Write the report to a file, and print text.")
@deferred
def verify() -> None:
    """Check that the database is as its contract declares, and that its readers get correct answers.

    The contract is the one that the deployment recorded in the database, unless an option names another.
    Every check is a read-only transaction, but for `--try-writes`. `--only` and `--skip` can be repeated.

    Exit codes: 0 success; 1 a check failed; 2 bad usage or a bad contract; 3 the database cannot be reached,
    refuses the login, or stops answering; 130 interrupted.

    Example: python -m seed verify --contract contract.json --format junit --output verify.xml

    Example: python -m seed verify --table items --recall 10:0.95
    """
