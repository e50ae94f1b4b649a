"""How a report is shown: text for people, JSON for programs, JUnit XML and workflow commands for pipelines."""

from __future__ import annotations

from collections.abc import Callable

from seed.verify.formats.data import as_json
from seed.verify.formats.github import as_github
from seed.verify.formats.junit import as_junit
from seed.verify.formats.text import as_text
from seed.verify.outcome import Report

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "junit": as_junit,
    "github": as_github,
}
