"""The report as text: a line for each check, and the details of a failure below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from pgvector_seed.common.text import lines, printable

from ..model import AFTER_CONNECT, Report, Result, Status
from .words import details, mended, summary, word

# Characters; a longer name shifts the rest of its own line only.
WIDEST = 48

STYLES: dict[Status, dict[str, Any]] = {
    Status.PASS: {"fg": "green"},
    Status.FAIL: {"fg": "red"},
    Status.SKIP: {"fg": "yellow"},
    Status.NOT_DECLARED: {"dim": True},
}


def as_text(report: Report, *, color: bool = False) -> str:
    """Return the subject, the checks in columns and the summary; last the error, if the run ended early.

    Checks that only repeat the error are left out. The tables' undeclared checks share a line.
    """
    repeated = (report.error, AFTER_CONNECT) if report.failure else ()
    results = [result for result in report.results if result.outcome.message not in repeated]
    report_lines = [f"verifying {printable(report.subject)}"] if report.subject else []
    made = [result for result in results if result.outcome.status is not Status.NOT_DECLARED]
    words = _width([word(result) for result in made])
    names = _width([result.name for result in made])
    tables = _width([result.place for result in made])
    for result in made:
        report_lines.append(_row(result, (words, names, tables), color=color))
        report_lines += [f"      {line}" for line in details(result)]
    report_lines += [_painted(line, Status.NOT_DECLARED, color=color) for line in _not_declared(results)]
    counted = report if results else replace(report, results=[])
    report_lines += filter(None, [mended(report)])
    return "\n".join([*report_lines, summary(counted), *_error(report, color=color)])


def _not_declared(results: list[Result]) -> Iterator[str]:
    """Yield a line with the names of the undeclared checks, or a line for each table if there are several."""
    several = len({result.table for result in results} - {None}) > 1
    made = {(result.name, result.table) for result in results if result.outcome.status is not Status.NOT_DECLARED}
    checks: dict[str | None, dict[str, None]] = {}  # each name once: a table may have several vector columns
    for result in results:
        if result.outcome.status is Status.NOT_DECLARED:
            of_one_column = result.has_siblings and (result.name, result.table) in made
            name = f"{result.name} of {result.column}" if of_one_column else result.name
            checks.setdefault(result.table if several else None, {})[printable(name)] = None
    for table, names in checks.items():
        yield f"not declared{f' for {printable(table)}' if table else ''}: {', '.join(names)}"


def _row(result: Result, widths: tuple[int, int, int], *, color: bool) -> str:
    words, names, tables = widths
    style = Status.SKIP if result.is_known_failure else result.outcome.status
    first = _painted(f"{word(result):<{words}}", style, color=color)
    cells = [f"{printable(result.name):<{names}}", f"{printable(result.place):<{tables}}"]
    return "  ".join([first, *filter(None, cells), printable(result.outcome.message)]).rstrip()


def _error(report: Report, *, color: bool) -> list[str]:
    if not report.error:
        return []
    first = f"{_painted('error:', Status.FAIL, color=color)} {printable(report.error)}"
    return [first, *(f"  {line}" for line in lines(report.remedy) if line)]


def _painted(text: str, status: Status, *, color: bool) -> str:
    return click.style(text, **STYLES[status]) if color else text


def _width(texts: list[str]) -> int:
    return min(WIDEST, max((len(printable(text)) for text in texts), default=0))
