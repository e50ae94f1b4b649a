"""The report for GitHub Actions: annotations by workflow commands, and a summary of the step in Markdown."""

from __future__ import annotations

import re

from pgvector_seed.common.text import lines, printable

from ..model import Report, Result, Status
from .words import details, label, summary, to_mend

# What GitHub allows the title of an annotation, in characters.
LONGEST_TITLE = 255

_MARKUP = re.compile(r"[\\`*_\[\]<>|&~!@#$]")


def as_github(report: Report) -> str:
    """A command of one line for each check that is wrong or skipped, one for the error, and last the summary.

    GitHub makes annotations of the first ten of a kind; the log and ``step_summary`` have all.
    """
    wrong = frozenset(report.wrong)
    said = [_annotation("error" if result in wrong else "warning", result) for result in _worth_a_line(report)]
    if report.error:
        said.append(_command("error", "seed verify", "\n".join([printable(report.error), *to_mend(report.remedy)])))
    return "\n".join([*said, _command("notice", "seed verify", summary(report))])


def step_summary(report: Report) -> str:
    """Markdown to append to the file that GITHUB_STEP_SUMMARY names."""
    title = "seed verify: right" if report.exit_code == 0 else "seed verify: wrong"
    parts = [f"### {title}", _text(report.subject), _table(report), *_remedies(report), _text(summary(report))]
    return "\n\n".join(filter(None, parts)) + "\n"


def _worth_a_line(report: Report) -> list[Result]:
    return [result for result in report.results if result.outcome.status in (Status.FAIL, Status.SKIP)]


def _annotation(level: str, result: Result) -> str:
    return _command(level, label(result), "\n".join([printable(result.outcome.found), *details(result.outcome)]))


def _command(level: str, title: str, said: str) -> str:
    name = _data(title[:LONGEST_TITLE]).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{_data(said)}"


def _data(text: str) -> str:
    """GitHub's escaping. Percent first: what stands for the others has one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _table(report: Report) -> str:
    if not report.results:
        return ""
    rows = [(_text(r.outcome.status), _text(r.name), _text(r.table), _text(r.outcome.found)) for r in report.results]
    cells = [("status", "check", "table", "found"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _remedies(report: Report) -> list[str]:
    said = []
    for result in _worth_a_line(report):
        if result.outcome.remedy:
            expected = f" (expected {_text(result.outcome.expected)})" if result.outcome.expected else ""
            said += [f"To mend {_text(label(result))}{expected}:", _block(result.outcome.remedy)]
    return [*said, f"error: {_text(report.error)}", _block(report.remedy)] if report.error else said


def _block(remedy: str) -> str:
    """A block of code, with a fence longer than any run of backticks inside."""
    if not remedy:
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", remedy)), default=0))
    return "\n".join([fence, *lines(remedy), fence])


def _text(text: str) -> str:
    """Text that Markdown takes for nothing else: a reference to a character never starts markup or ends a cell."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))
