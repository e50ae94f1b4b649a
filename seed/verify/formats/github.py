"""The report for GitHub Actions: workflow commands that make annotations, and a step summary in Markdown."""

from __future__ import annotations

import re

from pgvector_seed.common.text import lines, printable

from ..model import Report, Result, Status
from ..sections import section
from .words import details, label, mended, summary, to_fix, word

# Characters, GitHub's limit for the title of an annotation.
LONGEST_TITLE = 255

_MARKUP = re.compile(r"[\\`*_\[\]<>|&~!@#$]")


def as_github(report: Report) -> str:
    """Return a workflow command for each failed or skipped check and for the error, and last the summary.

    GitHub makes annotations of the first ten of a level; the log and ``step_summary`` have all.
    """
    wrong = frozenset(report.wrong)
    commands = [_annotation("error" if result in wrong else "warning", result) for result in _failed_or_skipped(report)]
    if report.error:
        commands.append(_command("error", "seed verify", "\n".join([printable(report.error), *to_fix(report.remedy)])))
    notices = filter(None, [mended(report), summary(report)])
    return "\n".join([*commands, *(_command("notice", "seed verify", notice) for notice in notices)])


def step_summary(report: Report) -> str:
    """Return the Markdown to append to the file that GITHUB_STEP_SUMMARY names."""
    title = "seed verify: passed" if report.exit_code == 0 else "seed verify: failed"
    parts = [f"### {title}", _text(report.subject), _table(report), *_remedies(report)]
    parts += [_text(mended(report)), _text(summary(report))]
    return "\n\n".join(filter(None, parts)) + "\n"


def _failed_or_skipped(report: Report) -> list[Result]:
    return [result for result in report.results if result.outcome.status in (Status.FAIL, Status.SKIP)]


def _annotation(level: str, result: Result) -> str:
    message = f"{'known: ' if result.is_known_failure else ''}{printable(result.outcome.message)}"
    return _command(level, label(result), "\n".join([message, *details(result)]))


def _command(level: str, title: str, message: str) -> str:
    title = _escape(title[:LONGEST_TITLE]).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_escape(message)}"


def _escape(text: str) -> str:
    """Escape the text for a workflow command; the percent sign first, as the other escapes have one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _table(report: Report) -> str:
    if not report.results:
        return ""
    rows = [(_text(word(r)), _text(r.name), _text(r.place), _text(r.outcome.message)) for r in report.results]
    cells = [("status", "check", "table", "found"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _remedies(report: Report) -> list[str]:
    parts = []
    for result in _failed_or_skipped(report):
        if result.outcome.remedy:
            expected = f" (expected {_text(result.outcome.expected)})" if result.outcome.expected else ""
            parts += [f"To fix {_text(label(result))}{expected}:", _block(result.outcome.remedy)]
        if result.outcome.status is Status.FAIL and (page := section(result.name)):
            parts.append(f"See {_text(page)}")
    return [*parts, f"error: {_text(report.error)}", _block(report.remedy)] if report.error else parts


def _block(remedy: str) -> str:
    """Return a code block, with a fence longer than any run of backticks inside."""
    if not remedy:
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", remedy)), default=0))
    return "\n".join([fence, *lines(remedy), fence])


def _text(text: str) -> str:
    """Escape the text as character references, which never start markup or end a table's cell."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", printable(text))
