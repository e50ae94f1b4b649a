"""What ``python -m seed verify`` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pgvector_seed.common.text import lines

from .checks import CHECKS
from .formats import FORMATS
from .formats.github import step_summary
from .formats.text import as_text
from .model import Report
from .verification import Wanted, report
from .write import append_summary, write


def verify(
    *,
    contract: str | None,
    stack: str | None,
    table: str | None,
    only: Sequence[str],
    skip: Sequence[str],
    list_: bool,
    strict: bool,
    time_limit: float,
    format_: str,
    output: str | None,
) -> None:
    """Make the checks, show the report, and leave with its exit code."""
    if list_:
        _list()
        return
    names = _chosen(_names("--only", only), _names("--skip", skip))
    if sum(source is not None for source in (contract, stack, table)) > 1:
        raise click.UsageError("Only one of --contract, --stack and --table can say what is to be checked.")
    if time_limit != time_limit:
        raise click.BadParameter("nan is no number of seconds", param_hint="'--time-limit'")
    file = Path(output) if output is not None else None
    if file is not None and not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.parent}", param_hint="--output")
    made = report(Wanted(contract, stack, table, names, time_limit, strict=strict))
    _show(made, format_, file)
    raise SystemExit(made.exit_code)


def _list() -> None:
    width = max(map(len, CHECKS))
    for check in CHECKS.values():
        click.echo(f"{check.name:{width}}  fails when {check.fails_when}")


def _names(option: str, values: Sequence[str]) -> list[str]:
    """Return the names of an option that takes them one by one or with commas between them."""
    names = [name.strip() for text in values for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        words = f"no such check: {', '.join(unknown)}. There are: {', '.join(CHECKS)}"
        raise click.BadParameter(words, param_hint=f"'{option}'")
    return names


def _chosen(only: Sequence[str], skip: Sequence[str]) -> list[str]:
    names = [name for name in CHECKS if (not only or name in only) and name not in skip]
    if not names:
        raise click.UsageError("--only and --skip leave no check to make.")
    return names


def _show(report: Report, format_: str, output: Path | None) -> None:
    """Print the report in its format, or write it to the file and print text."""
    on_terminal = format_ in ("text", "github") or output is not None
    if on_terminal:
        click.echo(as_text(report, color=sys.stdout is not None and sys.stdout.isatty()))
    if format_ == "github":
        click.echo(FORMATS[format_](report))
        append_summary(step_summary(report), output)
    elif output is not None:
        write(output, FORMATS[format_](report) + "\n")
    elif not on_terminal:
        click.echo(FORMATS[format_](report))
    if report.failure and not on_terminal:
        click.echo("\n  ".join(lines(f"error: {report.error}\n{report.remedy}")), err=True)
