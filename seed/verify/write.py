"""Writing a report into a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError


def write(path: Path, text: str) -> None:
    """Write the whole text, or leave the file as it was.

    Raises InputError, which names the file, if it cannot be written.
    """
    with _told(path):
        files.write(path, text, mode=0o666)


def append_summary(text: str, path: Path | None) -> None:
    """Write a step's summary where it was asked for; otherwise where GitHub Actions collects it, if it does."""
    if path is not None:
        write(path, text)
    elif where := os.environ.get("GITHUB_STEP_SUMMARY"):
        with _told(Path(where)), Path(where).open("a", encoding="utf-8") as file:
            file.write(text)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # a RuntimeError is a circle of links, before Python 3.13
        words = getattr(error, "strerror", None) or str(error)
        remedy = "The checks were made: see above."
        raise InputError(f"the report cannot be written to {path}: {words}", remedy) from error
