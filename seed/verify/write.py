"""Writing a report into a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write the whole text, or leave the file as it was. What is no ordinary file, such as a pipe, is written to."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()  # a link stays one
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(number, "w", encoding="utf-8") as file:  # noqa: PTH123  # it is open already
            file.write(text)
        Path(name).chmod(0o666 & ~_umask())  # a report is for whoever may read the folder's other files
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def append_summary(text: str, path: Path | None) -> None:
    """Write a step's summary where it was asked for; otherwise where GitHub Actions collects it, if it does."""
    if path is not None:
        write(path, text)
    elif where := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(where).open("a", encoding="utf-8") as file:
            file.write(text)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
