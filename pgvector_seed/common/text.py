"""Text of others, made safe to print."""

from __future__ import annotations

import re

# Names and server messages are others' text: none may forge a line of ours or move the cursor. GitHub's runner takes
# "##[" for a command wherever it stands in a log, and "::" where a line begins.
_ANYWHERE = "##["
_FIRST = re.compile(r"^( *):(?=:)")


def printable(text: str) -> str:
    r"""One line in which all that a terminal, a log or XML could stumble over is written as in Python: \n, \x1b.

    That is what Unicode calls controls, formats such as a change of direction, surrogates, unassigned
    characters, and separators but the plain space.
    """
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown.replace(_ANYWHERE, "##\\x5b")


def lines(text: str) -> list[str]:
    """The lines of a text, such as a statement over several, each of them printable."""
    return [_FIRST.sub(r"\1\\x3a", printable(line)) for line in text.replace("\r\n", "\n").split("\n")]


def os_error(error: OSError) -> str:
    """Return what the system says of a file, or of the output, in one line."""
    return f"{error.filename or 'the output'}: {error.strerror}" if error.strerror else str(error)[-200:]
