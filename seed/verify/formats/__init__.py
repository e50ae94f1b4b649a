"""How a report is shown: text for people, JSON for programs, JUnit XML and workflow commands for pipelines."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Report
from .data import as_json
from .github import as_github
from .junit import as_junit
from .text import as_text

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "junit": as_junit,
    "github": as_github,
}
