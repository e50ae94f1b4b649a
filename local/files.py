"""Files that are whole or absent, and private from the start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file in one step: a reader, or a crash, meets the old text or the new one."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def read(path: Path) -> str | None:
    """The text of a file, or None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def secret(path: Path) -> str:
    """The random text that this file keeps, made at the first call."""
    text = read(path)
    if text is None:
        text = secrets.token_urlsafe(24)
        write(path, text)
    return text
