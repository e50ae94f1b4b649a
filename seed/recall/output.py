"""The progress and the result of a tuning as text, in at most 80 columns but for names and SQL."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

import click

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.common.text import printable
from pgvector_seed.data.tuning import Level, Subject, Tuning, remedy_of
from pgvector_seed.vectors.scan_settings import SEARCH_SETTINGS

from .data import missed

_TERMINAL_SECONDS, _LINE_SECONDS = 0.2, 5.0  # between two reports
_WORD = re.compile("[a-z]+_[a-z_]+")  # needs no quotes in YAML, as off would
_ABOUT_QUERIES = ("The queries lie near stored vectors; yours may need another value: --file FILE",)
_HEADS = ("recall", " 99 % interval", "worst", "p50 ms", "p95 ms", "p99 ms", "queries/s")


class Output:
    """Prints the levels when they are measured. With ``as_json`` all goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stderr.isatty()
        self.next = time.monotonic() + (0 if self.is_terminal else _LINE_SECONDS)
        self.width = 0
        self.name = ""  # of the first column

    def progress(self, line: str) -> None:
        """Report on stderr, unless the last report was a moment ago; on a terminal in one line."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + (_TERMINAL_SECONDS if self.is_terminal else _LINE_SECONDS)
        sys.stderr.write(f"\r{line:{self.width}}" if self.is_terminal else f"{line}\n")
        sys.stderr.flush()
        self.width = len(line)

    def end(self) -> None:
        """Clear the line of progress on a terminal."""
        if self.is_terminal and self.width:
            sys.stderr.write(f"\r{'':{self.width}}\r")
            sys.stderr.flush()
        self.width = 0

    def began(self, subject: Subject) -> None:
        """Print the subject, and the head of the table."""
        self.end()
        self.name = _name(subject.index.setting)
        for line in (*_subject(subject), "", _head(subject)):
            click.echo(printable(line), err=self.as_json)

    def measured(self, level: Level) -> None:
        """Print a row of the table."""
        self.end()
        click.echo(_row(level, self.name), err=self.as_json)


def _subject(subject: Subject) -> list[str]:
    search = subject.search
    where = "" if search.selection.condition is None else ", with the condition"
    queries = f"{subject.choosing + subject.confirming:,} queries"
    return [
        f"recall@{subject.k} of {search.target.shown} ({search.column.name}), {search.column.metric}{where}",
        f"{subject.index.method} index {subject.index.shown}",
        f"{queries}: {subject.choosing:,} choose, {subject.confirming:,} confirm; target {subject.target:g}",
    ]


def _name(setting: str | None) -> str:
    return setting.partition(".")[2] if setting else "as it is"


def _head(subject: Subject) -> str:
    return "  ".join((_name(subject.index.setting), *_HEADS))


def _row(level: Level, name: str) -> str:
    measured, recall = level.measured, level.measured.recall
    cells = (
        "" if level.value is None else str(level.value),
        f"{recall.mean:.3f}",
        f"{recall.low:.3f} to {recall.high:.3f}",
        f"{measured.worst:.2f}",
        *(_milliseconds(value) for value in (measured.p50, measured.p95, measured.p99)),
        f"{measured.queries_per_second:,.0f}",
    )
    return "  ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, (name, *_HEADS), strict=True))


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def result_lines(tuning: Tuning, data: dict[str, Any]) -> list[str]:
    """Return the recommendation, or the reason why there is none. ``data`` is the result as data."""
    setting = tuning.subject.index.setting
    failed = [level for level in tuning.levels if level.confirmed and level is not tuning.recommended]
    lines = [
        "",
        *([f"{tuning.note}."] if tuning.note else []),
        *(f"{setting} = {level.value} failed with {_confirming(tuning, level)}" for level in failed),
    ]
    short = max((level.measured.short for level in tuning.levels), default=0)
    if short:
        lines.append(f"Up to {short:,} of the queries got fewer rows than there are: the scan ended too early.")
        if tuning.subject.index.method in SEARCH_SETTINGS:
            lines.append(f"The limit of a scan: {SEARCH_SETTINGS[tuning.subject.index.method].scan_limit}")
    if tuning.recommended is None:
        return [*lines, f"No recommendation: {missed(tuning)}.", remedy_of(tuning.subject)]
    return [*lines, *_recommendation(tuning, tuning.recommended, data)]


def _recommendation(tuning: Tuning, level: Level, data: dict[str, Any]) -> list[str]:
    setting = tuning.subject.index.setting
    if setting is None:
        return [
            "The target is met.",
            f"Confirmed by {_confirming(tuning, level)}",
            f"No search setting of {tuning.subject.index.method} is known here: it was measured as it is.",
        ]
    pairs = ", ".join(f"{name}: {_yaml(value)}" for name, value in data["readerSettings"].items())
    return [
        f"Recommended: {setting} = {level.value}",
        f"Confirmed by {_confirming(tuning, level)}",
        "",
        f"{setting_name('readerSettings')}: {{{pairs}}}",
        "",
        *data["sql"],
        *(["", *_ABOUT_QUERIES] if _are_made(tuning) else []),
    ]


def _yaml(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else json.dumps(value)


def _are_made(tuning: Tuning) -> bool:
    """Return True if the queries were made from stored vectors."""
    return not tuning.subject.from_file


def _confirming(tuning: Tuning, level: Level) -> str:
    recall = level.confirmed
    assert recall is not None
    return f"{tuning.subject.confirming:,} other queries: {recall.mean:.3f} ({recall.low:.3f} to {recall.high:.3f})"
