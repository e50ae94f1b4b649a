"""The command ``python -m seed verify``: its options and its help. What it does is in ``work``."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred

NAMES = ("text", "json", "junit", "github")
TIME_LIMIT_SECONDS = 60.0


@click.command()
@click.option("--contract", metavar="FILE", help="The contract, as JSON; - is the standard input.")
@click.option("--stack", metavar="NAME", help="Ask pulumi for the contract of a stack of this folder's project.")
@click.option("--table", metavar="NAME", help="Without a contract: check this table by what the catalogue says of it.")
@click.option("--only", multiple=True, metavar="CHECK", help="Make these checks alone.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Leave these checks out.")
@click.option("--list", "list_", is_flag=True, help="List the checks.")
@click.option("--strict", is_flag=True, help="A check that is skipped fails the run, too.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=86400),
    default=TIME_LIMIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="The whole run takes no longer.",
)
@click.option("--format", "format_", type=click.Choice(NAMES), default="text", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="Write the report there; print text.",
)
@deferred
def verify() -> None:
    """Check whether the database is what its contract says, and whether its readers get right answers.

    The contract is the one that is kept in the database, unless another is named. Nothing is written: every
    check is a read-only transaction. `--only` and `--skip` can be given more than once.

    Exit codes: 0 right, 1 a check failed, 2 bad usage or a bad contract, 3 the database cannot be reached,
    refuses the login, or stops answering, 130 interrupted.

    Example: python -m seed verify --contract contract.json --format junit --output verify.xml
    """
