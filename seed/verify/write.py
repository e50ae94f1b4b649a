"""Write a report to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError


def write(path: Path, text: str) -> None:
    """Replace the file's content, all or nothing. Raises InputError if the file cannot be written."""
    with _as_input_error(path):
        files.write(path, text, mode=0o666)


def append_summary(text: str, path: Path | None) -> None:
    """Write a summary to ``path``, or append it to the file that GITHUB_STEP_SUMMARY names, if it is set."""
    if path is not None:
        write(path, text)
    elif name := os.environ.get("GITHUB_STEP_SUMMARY"):
        with _as_input_error(Path(name)), Path(name).open("a", encoding="utf-8") as file:
            file.write(text)


@contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # before Python 3.13, a circle of links is a RuntimeError
        words = getattr(error, "strerror", None) or str(error)
        remedy = "The results of the checks are above. Name another file: --output FILE"
        raise InputError(f"the report cannot be written to {path}: {words}", remedy) from error
