"""The output of a load: its progress, and its result as text or as one JSON document."""

from __future__ import annotations

import json
import shlex
import time
from typing import TextIO

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.text import counted, printable
from pgvector_seed.data.store import Counts
from pgvector_seed.data.summary import Loaded

TERMINAL_SECONDS, LINE_SECONDS = 0.2, 5.0  # between two reports


class Progress:
    """Reports rows, rows/s and the time left: on a terminal in one line that is rewritten, otherwise line by line."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.is_terminal = stream is not None and stream.isatty()
        self.next = time.monotonic() + (0 if self.is_terminal else LINE_SECONDS)
        self.width = 0
        self.notes = 0  # printed

    def show(self, loaded: Loaded) -> None:
        """Print new notes, and report the state unless the last report was a moment ago."""
        if self.stream is None:
            return
        for note in loaded.notes[self.notes :]:
            self.stream.write(f"note: {printable(note)}\n")
        self.notes = len(loaded.notes)
        if not loaded.rows or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + (TERMINAL_SECONDS if self.is_terminal else LINE_SECONDS)
        line = _progress(loaded)
        self.stream.write(f"\r{line:{self.width}}" if self.is_terminal else f"{line}\n")
        self.stream.flush()
        self.width = len(line)

    def end(self) -> None:
        """Clear the line on a terminal."""
        if self.stream is not None and self.width and self.is_terminal:
            self.stream.write(f"\r{'':{self.width}}\r")
            self.stream.flush()


def _progress(loaded: Loaded) -> str:
    per_second = loaded.rows / max(loaded.seconds, 1e-9)
    words = f"{loaded.rows:,} rows, {per_second:,.0f} rows/s"
    if loaded.expected:
        left = (loaded.expected - loaded.rows) / max(per_second, 1e-9)
        words = f"{loaded.rows:,} of {loaded.expected:,} rows, {per_second:,.0f} rows/s, {left:,.0f} s left"
    return f"{words}, {counted(loaded.workers, 'worker')}" if loaded.workers else words


def as_text(loaded: Loaded, *, rejects: str | None, dry_run: bool) -> str:
    """Return the result as lines. ``rejects`` is the file of the bad rows."""
    if dry_run:
        words = f"{counted(loaded.rows, 'good row')}; nothing was written to {loaded.table}"
        return "\n".join([words, *_rejected(loaded, rejects), *loaded.notes])
    rate = loaded.rows / max(loaded.seconds, 1e-9)
    return "\n".join(
        [
            f"{loaded.table}: {_counts(loaded.counts)}",
            f"{loaded.bytes / 1e6:,.1f} MB in {loaded.seconds:.1f} s: {rate:,.0f} rows/s, {_bound(loaded)}",
            *_rejected(loaded, rejects),
            *(f"note: {note}" for note in loaded.notes),
            f"Next: {_next(loaded)}",
        ]
    )


def _next(loaded: Loaded) -> str:
    """Return the next command: the contract declares more of the table than ``--table`` can tell."""
    if loaded.unbuilt:
        return f"{PROGRAM} index build"
    return f"{PROGRAM} verify" if loaded.is_declared else f"{PROGRAM} verify --table {shlex.quote(loaded.table)}"


def _rejected(loaded: Loaded, rejects: str | None) -> list[str]:
    """Return the number of the rejected rows, and the remedy; nothing if there are none."""
    if not loaded.rejected:
        return []
    return [f"{counted(loaded.rejected, 'bad row')} rejected", f"Fix the rows in {rejects}, and load that file."]


def _counts(counts: Counts) -> str:
    return f"{counted(counts.copied, 'row')} copied, {counts.changed:,} changed, {counts.unchanged:,} unchanged"


def _bound(loaded: Loaded) -> str:
    if loaded.workers:
        return f"by {counted(loaded.workers, 'worker')}"
    share = loaded.cpu_seconds / max(loaded.seconds, 1e-9)
    bound = "this client" if share > 0.5 else "waiting for the server"
    return f"bounded by {bound} ({share:.0%} of the time in this process)"


def as_json_document(loaded: Loaded, *, rejects: str | None, dry_run: bool) -> str:
    """Return the result as one JSON document. ``right`` is false if rows were rejected into the file ``rejects``."""
    counts = loaded.counts
    document = {
        "right": not loaded.rejected,
        **dict(zip(("error", "remedy"), _rejected(loaded, rejects), strict=False)),
        "table": loaded.table,
        "dry_run": dry_run,
        "rows": loaded.rows,
        "copied": counts.copied,
        "changed": counts.changed,
        "unchanged": counts.unchanged,
        "rejected": loaded.rejected,
        "bytes": loaded.bytes,
        "seconds": round(loaded.seconds, 3),
        "cpu_seconds": round(loaded.cpu_seconds, 3),
        "rows_per_second": round(loaded.rows / max(loaded.seconds, 1e-9)),
        "workers": loaded.workers,
        "notes": loaded.notes,
        "next": _next(loaded),
    }
    return json.dumps(document, indent=2)
