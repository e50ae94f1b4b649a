"""The formats of a report: text, JSON, JUnit XML, and workflow commands of GitHub Actions."""

from __future__ import annotations

from collections.abc import Callable

from ..command import NAMES
from ..model import Report
from .data import as_json
from .github import as_github
from .junit import as_junit
from .text import as_text

FORMATS: dict[str, Callable[[Report], str]] = dict(zip(NAMES, (as_text, as_json, as_junit, as_github), strict=True))
