"""What the formats for people share."""

from __future__ import annotations

from collections import Counter

from pgvector_seed.common.text import lines, printable

from ..model import Outcome, Report, Result, Status

_COUNTED = {Status.PASS: "passed", Status.FAIL: "failed", Status.SKIP: "skipped", Status.NOT_DECLARED: "not declared"}


def label(result: Result) -> str:
    """What the result is about: the check, and the table if there is one."""
    return printable(f"{result.name} {result.table}" if result.table else result.name)


def details(outcome: Outcome) -> list[str]:
    """The lines that follow what was found, where it is not what it should be."""
    if outcome.status is Status.PASS:
        return []
    expected = [f"expected {printable(outcome.expected)}"] if outcome.expected else []
    return expected + to_mend(outcome.remedy)


def to_mend(remedy: str) -> list[str]:
    """What to do, in one line when it fits, otherwise indented beneath."""
    if not remedy:
        return []
    first, *others = lines(remedy)
    return ["to mend:", *(f"  {line}" for line in (first, *others))] if others else [f"to mend: {first}"]


def summary(report: Report) -> str:
    """How many checks ended how, and which of them make the run wrong."""
    counted = Counter(result.outcome.status for result in report.results)
    many = len(report.results)
    parts = [f"{counted[status]} {word}" for status, word in _COUNTED.items() if counted[status]]
    said = f"{many} {'check' if many == 1 else 'checks'}: {', '.join(parts) or 'none was made'}"
    wrong = ", ".join(label(result) for result in report.wrong)
    return f"{said}, in {report.seconds:.1f} s" + (f"; wrong: {wrong}" if wrong else "")
