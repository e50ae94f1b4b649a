"""Read and write small files: written in one step, and private from the start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step: a reader gets the old text or the new one, also after a crash.

    A symbolic link is followed; a pipe or a device is written to. The new file has ``mode``, less the umask.

    Raises OSError with the path; the file then keeps its old text.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()
    new = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(target)
    except OSError as error:  # it may name the temporary file, or none
        error.filename = str(path)
        raise
    finally:
        new.unlink(missing_ok=True)


def read(path: Path) -> str | None:
    """Return the text of a file, or None if it does not exist."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def secret(path: Path) -> str:
    """Return the secret in a file, which the first call generates."""
    text = read(path)
    if text is None:
        text = secrets.token_urlsafe(24)
        write(path, text)
    return text
