"""The report as one JSON document, whose schema is report.schema.json."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ..model import Report, Result, Status
from ..sections import section

VERSION = 1


def as_json(report: Report) -> str:
    """Return the document as text. Characters that are not printable are escaped, as they could act on a terminal."""
    document = msgspec.json.format(msgspec.json.encode(as_data(report))).decode()
    if document.replace("\n", "").isprintable():
        return document
    return "\n".join(line if line.isprintable() else _escape(line) for line in document.split("\n"))


def _escape(line: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def as_data(report: Report) -> dict[str, Any]:
    """Return the document as data, with texts of any length. A missing table, error or remedy of the run is None."""
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
        "table": _safe(result.table or "") or None,
        "column": _safe(result.column or "") or None,
        "status": str(result.outcome.status),
        "expected": _safe(result.outcome.expected),
        "found": _safe(result.outcome.message),
        "remedy": _safe(result.outcome.remedy),
        "section": (section(_safe(result.name)) or None) if result.outcome.status is Status.FAIL else None,
        "known": None if result.known is None else _safe(result.known),
        "seconds": round(result.seconds, 3),
    }


def _safe(text: str) -> str:
    r"""Spell out lone surrogates, as \udc80: UTF-8 cannot encode them, and many JSON parsers refuse them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
