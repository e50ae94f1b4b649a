"""The command ``python -m seed verify``. What it imports is imported when it runs: --help does not wait for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from seed.verify.outcome import Report

NAMES = ("text", "json", "junit", "github")
TIME_LIMIT_SECONDS = 60.0


def _names(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    """Names that were given one by one or with commas between them."""
    names = tuple(name.strip() for text in given for name in text.split(",") if name.strip())
    if names:
        from seed.verify.checks import CHECKS

        unknown = [name for name in names if name not in CHECKS]
        if unknown:
            raise click.BadParameter(f"no such check: {', '.join(unknown)}. There are: {', '.join(CHECKS)}")
    return names


def _finite(_context: click.Context, _parameter: click.Parameter, given: float) -> float:
    if given != given:  # not a number
        raise click.BadParameter("nan is no number of seconds")
    return given


def _list(context: click.Context, _parameter: click.Parameter, given: bool) -> None:  # noqa: FBT001  # click's way
    if given:
        from seed.verify.checks import CHECKS

        width = max(map(len, CHECKS))
        for check in CHECKS.values():
            click.echo(f"{check.name:{width}}  fails when {check.fails_when}")
        context.exit()


@click.command()
@click.option("--contract", metavar="FILE", help="The contract, as JSON; - is the standard input.")
@click.option("--stack", metavar="NAME", help="Ask pulumi for the contract of a stack of this folder's project.")
@click.option("--table", metavar="NAME", help="Without a contract: check this table by what the catalogue says of it.")
@click.option("--only", multiple=True, callback=_names, metavar="CHECK", help="Make these checks alone.")
@click.option("--skip", multiple=True, callback=_names, metavar="CHECK", help="Leave these checks out.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the checks.")
@click.option("--strict", is_flag=True, help="A check that is skipped fails the run, too.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=86400),
    default=TIME_LIMIT_SECONDS,
    show_default=True,
    callback=_finite,
    metavar="SECONDS",
    help="The whole run takes no longer.",
)
@click.option("--format", "format_", type=click.Choice(NAMES), default="text", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report there; print text.",
)
def verify(
    *,
    contract: str | None,
    stack: str | None,
    table: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    strict: bool,
    time_limit: float,
    format_: str,
    output: Path | None,
) -> None:
    """Check whether the database is what its contract says, and whether its readers get right answers.

    The contract is the one that is kept in the database, unless another is named. Nothing is written: every
    check is a read-only transaction. `--only` and `--skip` can be given more than once.

    Exit codes: 0 right, 1 a check failed, 2 bad usage or a bad contract, 3 the database cannot be reached,
    refuses the login, or stops answering, 130 interrupted.

    Example: python -m seed verify --contract contract.json --format junit --output verify.xml
    """
    from seed.verify.checks import CHECKS
    from seed.verify.report import Wanted, report

    if sum(given is not None for given in (contract, stack, table)) > 1:
        raise click.UsageError("Only one of --contract, --stack and --table can say what is to be checked.")
    names = [name for name in CHECKS if (not only or name in only) and name not in skip]
    if not names:
        raise click.UsageError("--only and --skip leave no check to make.")
    if output is not None and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    found = report(Wanted(contract, stack, table, names, time_limit, strict=strict))
    _show(found, format_, output)
    raise SystemExit(found.exit_code)


def _show(report: Report, format_: str, output: Path | None) -> None:
    """The report in its format, in the file or on the standard output; text where the file has the report."""
    from postgres.errors import lines
    from seed.verify.formats import FORMATS as WRITERS
    from seed.verify.formats.github import step_summary
    from seed.verify.formats.text import as_text
    from seed.verify.write import append_summary, write

    on_terminal = format_ in ("text", "github") or output is not None
    if on_terminal:
        click.echo(as_text(report, color=sys.stdout is not None and sys.stdout.isatty()))
    if format_ == "github":
        click.echo(WRITERS[format_](report))
        append_summary(step_summary(report), output)
    elif output is not None:
        write(output, WRITERS[format_](report) + "\n")
    elif not on_terminal:
        click.echo(WRITERS[format_](report))
    if report.failure and not on_terminal:
        click.echo("\n  ".join(lines(f"error: {report.error}\n{report.remedy}")), err=True)
