"""The report as text: a line for each check, and the details of a failure below it."""

from __future__ import annotations

from typing import Any

import click

from pgvector_seed.common.text import lines, printable

from ..model import Report, Result, Status
from .words import details, summary

# Characters; a longer name shifts the rest of its own line only.
WIDEST = 48

WORDS = {Status.NOT_DECLARED: "-"}
STYLES: dict[Status, dict[str, Any]] = {
    Status.PASS: {"fg": "green"},
    Status.FAIL: {"fg": "red"},
    Status.SKIP: {"fg": "yellow"},
    Status.NOT_DECLARED: {"dim": True},
}


def as_text(report: Report, *, color: bool = False) -> str:
    """Return the subject, the checks in columns and the summary; last the error, if the run ended early."""
    report_lines = [f"verifying {printable(report.subject)}"] if report.subject else []
    names = _width([result.name for result in report.results])
    tables = _width([result.table or "" for result in report.results])
    for result in report.results:
        report_lines.append(_row(result, names, tables, color=color))
        report_lines += [f"      {line}" for line in details(result.outcome)]
    return "\n".join([*report_lines, summary(report), *_error(report, color=color)])


def _row(result: Result, names: int, tables: int, *, color: bool) -> str:
    status = result.outcome.status
    word = _painted(f"{WORDS.get(status, status):<4}", status, color=color)
    cells = [f"{printable(result.name):<{names}}", f"{printable(result.table or ''):<{tables}}"]
    return "  ".join([word, *filter(None, cells), printable(result.outcome.message)]).rstrip()


def _error(report: Report, *, color: bool) -> list[str]:
    if not report.error:
        return []
    first = f"{_painted('error:', Status.FAIL, color=color)} {printable(report.error)}"
    return [first, *(f"  {line}" for line in lines(report.remedy) if line)]


def _painted(text: str, status: Status, *, color: bool) -> str:
    return click.style(text, **STYLES[status]) if color else text


def _width(texts: list[str]) -> int:
    return min(WIDEST, max((len(printable(text)) for text in texts), default=0))
