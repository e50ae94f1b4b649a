"""The label, the details and the summary in the formats that people read."""

from __future__ import annotations

from collections import Counter

from pgvector_seed.common.text import counted, lines, printable

from ..model import Report, Result, Status
from ..sections import section

KNOWN = "known"  # the word for a failure that failed in an earlier report, too
_COUNTED = {
    str(Status.PASS): "passed",
    str(Status.FAIL): "failed",
    KNOWN: KNOWN,
    str(Status.SKIP): "skipped",
    str(Status.NOT_DECLARED): "not declared",
}


def word(result: Result) -> str:
    """Return the status of a result, or "known" for a known failure."""
    return KNOWN if result.is_known_failure else str(result.outcome.status)


def label(result: Result) -> str:
    """Return the name of the check, and its place if it is not the whole database."""
    return printable(f"{result.name} {result.place}".rstrip())


def details(result: Result) -> list[str]:
    """Return the lines below the message of a check that did not pass: the expected state, the remedy, the section.

    If a known failure had another message in the earlier report, that is the first line: the fault may be a new one.
    """
    outcome = result.outcome
    if outcome.status is Status.PASS:
        return []
    is_changed = result.is_known_failure and result.known != outcome.message
    earlier = [f"earlier {printable(result.known or '')}"] if is_changed else []
    expected = [f"expected {printable(outcome.expected)}"] if outcome.expected else []
    page = section(result.name) if outcome.status is Status.FAIL else ""
    return earlier + expected + to_fix(outcome.remedy) + ([f"see {page}"] if page else [])


def mended(report: Report) -> str:
    """Return a line that names the mended failures, and how to renew the earlier report; "" if none is mended."""
    if not report.mended:
        return ""
    names = ", ".join(dict.fromkeys(label(result) for result in report.mended))
    return f"mended since {printable(report.known_file)}: {names}; to renew it: --format json --output FILE"


def to_fix(remedy: str) -> list[str]:
    """Return the remedy on the line of its heading; if it has several lines, indented below."""
    if not remedy:
        return []
    first, *rest = lines(remedy)
    return ["to fix:", *(f"  {line}" for line in (first, *rest))] if rest else [f"to fix: {first}"]


def summary(report: Report) -> str:
    """Return the number of checks by status, the seconds, and the checks that make the run fail."""
    counts = Counter(map(word, report.results))
    total = len(report.results)
    parts = [f"{counts[status]} {counted_as}" for status, counted_as in _COUNTED.items() if counts[status]]
    by_status = f"{counted(total, 'check')}: {', '.join(parts) or 'none was run'}"
    wrong = ", ".join(dict.fromkeys(label(result) for result in report.wrong))
    return f"{by_status}, in {report.seconds:.1f} s" + (f"; wrong: {wrong}" if wrong else "")
