"""The label, the details and the summary in the formats that people read."""

from __future__ import annotations

from collections import Counter

from pgvector_seed.common.text import counted, lines, printable

from ..model import Outcome, Report, Result, Status

_COUNTED = {Status.PASS: "passed", Status.FAIL: "failed", Status.SKIP: "skipped", Status.NOT_DECLARED: "not declared"}


def label(result: Result) -> str:
    """Return the name of the check, and its place if it is not the whole database."""
    return printable(f"{result.name} {result.place}".rstrip())


def details(outcome: Outcome) -> list[str]:
    """Return the lines below the message of a check that did not pass: the expected state and the remedy."""
    if outcome.status is Status.PASS:
        return []
    expected = [f"expected {printable(outcome.expected)}"] if outcome.expected else []
    return expected + to_fix(outcome.remedy)


def to_fix(remedy: str) -> list[str]:
    """Return the remedy on the line of its heading; if it has several lines, indented below."""
    if not remedy:
        return []
    first, *rest = lines(remedy)
    return ["to fix:", *(f"  {line}" for line in (first, *rest))] if rest else [f"to fix: {first}"]


def summary(report: Report) -> str:
    """Return the number of checks by status, the seconds, and the checks that make the run fail."""
    counts = Counter(result.outcome.status for result in report.results)
    total = len(report.results)
    parts = [f"{counts[status]} {word}" for status, word in _COUNTED.items() if counts[status]]
    by_status = f"{counted(total, 'check')}: {', '.join(parts) or 'none was run'}"
    wrong = ", ".join(dict.fromkeys(label(result) for result in report.wrong))
    return f"{by_status}, in {report.seconds:.1f} s" + (f"; wrong: {wrong}" if wrong else "")
