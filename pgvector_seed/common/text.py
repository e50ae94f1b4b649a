"""Check names, and make names and server messages safe to print."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

# Untrusted text must not forge a line of our output or move the cursor. GitHub's runner takes "##[" for a command
# anywhere in a log, and "::" at the start of a line.
_ANYWHERE = "##["
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_FIRST = re.compile(r"^( *):(?=:)")


def printable(text: str) -> str:
    r"""Return a text as one line, with \n, \x1b and so on for the characters that a terminal, a log or XML cannot show.

    These are Unicode's control, format and unassigned characters, surrogates, and all separators but the plain space.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text.replace(_ANYWHERE, "##\\x5b")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless the number is 1: "1 row", "2,000 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return a duration in two digits or so: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def lines(text: str) -> list[str]:
    """Split a text at its line ends, and return each line printable."""
    return [_FIRST.sub(r"\1\\x3a", printable(line)) for line in text.replace("\r\n", "\n").split("\n")]


def fault_of_text(value: object) -> str | None:
    """Return the fault of a text or a path, which may be a secret, or None."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    good = isinstance(text, str) and text != "" and "\0" not in text
    # A path may have bytes that are no UTF-8, which Python keeps as lone surrogates; no server takes these in a text.
    good = good and not (isinstance(value, str) and _SURROGATES.search(value))
    return None if good else "must be text, not empty and without a NUL"


def os_error(error: OSError) -> str:
    """Return the system's message for an error, after the file or "the output". A full disk is named."""
    message = f"{error.filename or 'the output'}: {error.strerror}" if error.strerror else str(error)[-200:]
    return name_full_disk(message, str(error.filename)) if error.filename else message


def name_full_disk(message: str, path: str) -> str:
    """Return a message, with the disk of ``path`` if the message says that a disk is full."""
    if not message.endswith(os.strerror(errno.ENOSPC)):
        return message
    disk = Path(path).absolute()
    while not disk.is_mount():
        disk = disk.parent
    return f"{message}: the disk mounted at {disk} is full"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of ``names``, or None if none is. Letter case, "_" and "-" do not count."""
    from difflib import get_close_matches  # only after an error

    plain = {re.sub("[_-]", "", candidate).lower(): candidate for candidate in names}
    matches = get_close_matches(re.sub("[_-]", "", name).lower(), plain, n=1)
    return plain[matches[0]] if matches else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean NAME?" for the ``nearest`` of the names, or ""."""
    match = nearest(name, names)
    return f"; did you mean {match}?" if match else ""
