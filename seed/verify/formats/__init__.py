"""The formats of a report: text, JSON, JUnit XML, workflow commands of GitHub Actions, and Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable

from ..command import NAMES
from ..model import Report
from .data import as_json
from .github import as_github
from .junit import as_junit
from .prometheus import as_prometheus
from .text import as_text

_FUNCTIONS = (as_text, as_json, as_junit, as_github, as_prometheus)
FORMATS: dict[str, Callable[[Report], str]] = dict(zip(NAMES, _FUNCTIONS, strict=True))
