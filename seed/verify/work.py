"""Run ``python -m seed verify``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from pgvector_seed.common.text import lines
from pgvector_seed.migrate.contract import DeclaredRecall

from .checks import CHECKS
from .formats import FORMATS
from .formats.github import step_summary
from .formats.text import as_text
from .model import Report
from .verification import VerifyOptions, make_report
from .write import append_summary, write

_RECALL = re.compile(r"([0-9]{1,9}):([0-9]*\.?[0-9]+)")


def verify(
    *,
    contract: str | None,
    stack: str | None,
    table: str | None,
    recall: str | None,
    only: Sequence[str],
    skip: Sequence[str],
    list_: bool,
    strict: bool,
    known: str | None,
    replica: bool,
    try_writes: bool,
    time_limit: float,
    format_: str,
    output: str | None,
) -> None:
    """Run the checks, print or write the report, and exit with its code."""
    if list_:
        _list_checks()
        return
    names = _select(_parse_names("--only", only), _parse_names("--skip", skip))
    if try_writes and "roles" not in names:
        raise click.UsageError("--try-writes needs the check roles, which reports the result.")
    if try_writes and replica:
        raise click.UsageError("--try-writes needs the primary, and --replica a standby.")
    if sum(source is not None for source in (contract, stack, table)) > 1:
        raise click.UsageError("Only one of --contract, --stack and --table can be given.")
    declared_recall = _parse_recall(recall) if recall is not None else None
    if declared_recall and table is None:
        raise click.UsageError("--recall needs --table: a contract declares its own.")
    if time_limit != time_limit:
        raise click.BadParameter("nan is not a number of seconds", param_hint="'--time-limit'")
    file = Path(output) if output is not None else None
    if file is not None and not file.parent.is_dir():
        raise click.BadParameter(f"the folder {file.parent} does not exist", param_hint="--output")
    options = VerifyOptions(
        contract, stack, table, names, time_limit, strict, declared_recall, known, try_writes, replica
    )
    report = make_report(options)
    try:
        _show(report, format_, file)
    except OSError as error:  # the output is lost: report what ended the run instead
        raise report.failure or error from error
    raise SystemExit(report.exit_code)


def _list_checks() -> None:
    width = max(map(len, CHECKS))
    for check in CHECKS.values():
        click.echo(f"{check.name:{width}}  fails when {check.fails_when}")


def _parse_names(option: str, values: Sequence[str]) -> list[str]:
    """Return the names in an option that may be repeated and have commas. Raises BadParameter for an unknown check."""
    names = [name.strip() for text in values for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        words = f"no such check: {', '.join(unknown)}. The checks are {', '.join(CHECKS)}"
        raise click.BadParameter(words, param_hint=f"'{option}'")
    return names


def _parse_recall(text: str) -> DeclaredRecall:
    """Return the recall in "K:MINIMUM". Raises BadParameter."""
    match = _RECALL.fullmatch(text)
    try:
        return msgspec.convert(match and {"k": int(match[1]), "minimum": float(match[2])}, DeclaredRecall)
    except msgspec.ValidationError as error:
        words = f"{text!r} is not K:MINIMUM, with K from 1 on and MINIMUM from 0 to 1, such as 10:0.95"
        raise click.BadParameter(words, param_hint="'--recall'") from error


def _select(only: Sequence[str], skip: Sequence[str]) -> list[str]:
    names = [name for name in CHECKS if (not only or name in only) and name not in skip]
    if not names:
        raise click.UsageError("--only and --skip leave no check to run.")
    return names


def _show(report: Report, format_: str, output: Path | None) -> None:
    """Print the report in its format, or write it to the file and print text."""
    prints_text = format_ in ("text", "github") or output is not None
    if prints_text:
        click.echo(as_text(report, color=sys.stdout is not None and sys.stdout.isatty()))
    if format_ == "github":
        click.echo(FORMATS[format_](report))
        append_summary(step_summary(report), output)
    elif output is not None:
        write(output, FORMATS[format_](report) + "\n")
    elif not prints_text:
        click.echo(FORMATS[format_](report))
    if report.failure and not prints_text:
        click.echo("\n  ".join(lines(f"error: {report.error}\n{report.remedy}")), err=True)
