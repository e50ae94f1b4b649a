"""The report for programs: one JSON document. report.schema.json says what it holds."""

from __future__ import annotations

import json
from typing import Any

from ..model import Report, Result

VERSION = 1


def as_json(report: Report) -> str:
    """The document, in which characters that act on a terminal are written as JSON's escapes."""
    document = json.dumps(as_data(report), indent=2, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in document)


def as_data(report: Report) -> dict[str, Any]:
    """The document's objects. Names and messages are whole; null stands where there is none."""
    return {
        "version": VERSION,
        "tool": _safe(report.version),
        "subject": _safe(report.subject),
        "right": report.exit_code == 0,
        "strict": report.strict,
        "seconds": round(report.seconds, 3),
        "error": _safe(report.error) or None,
        "remedy": _safe(report.remedy) or None,
        "checks": [_check(result) for result in report.results],
    }


def _check(result: Result) -> dict[str, Any]:
    return {
        "name": _safe(result.name),
        "table": _safe(result.table) or None,
        "status": str(result.outcome.status),
        "expected": _safe(result.outcome.expected),
        "found": _safe(result.outcome.found),
        "remedy": _safe(result.outcome.remedy),
        "seconds": round(result.seconds, 3),
    }


def _safe(text: str) -> str:
    r"""The text with lone surrogates spelled out, as \udc80: UTF-8 has no room for them, and many parsers refuse."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
