"""Every error this project raises on purpose, and the one place where the driver's are translated.

The tree, with the exit code of the ``python -m`` commands::

    Error
    ├── InputError          2  bad usage, configuration or files
    │   └── RefusedError    2  the plan would break a promise, such as edited history, or trust a stranger's ledger
    ├── UnreachableError    3  no connection, or no login
    ├── InterruptError    130  the user stopped it
    └── WrongResultError    1  the work was tried, and failed or gave a wrong result
        └── MigrationError  1  the server refused a migration
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


REMEDIES = {
    "25006": "This server takes no writes. Among several, PGTARGETSESSIONATTRS=read-write finds the one that does.",
    "40P01": "Run the same command again.",
    "42501": "Use a role that has this right, or have it granted.",
    "42P06": "Somebody made that schema: drop it if it is empty, or rename it, and run the same command again.",
    "53100": "Free some room on the server's disk, and run the same command again.",
}


class Error(Exception):
    """What failed and why, in one line, and the next thing to do.

    ``remedy`` is a sentence or a command; it is printed after the message.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        if not self.remedy:
            return self.message
        return f"{self.message.rstrip('.')}{'' if self.message.endswith(('?', '!')) else '.'} {self.remedy}"


class InputError(Error):
    """Bad usage, configuration or files."""

    exit_code = 2


class RefusedError(InputError):
    """The plan would break a promise, so nothing was run."""


class UnreachableError(Error):
    """The database cannot be reached, or refuses the login."""

    exit_code = 3


class InterruptError(Error):
    """The user stopped the work. ``left`` is what is on record."""

    exit_code = 130

    def __init__(self, left: str = "") -> None:
        super().__init__(f"interrupted: {left}" if left else "interrupted", "Run the same command again.")


class WrongResultError(Error):
    """The work was tried, and failed or gave a wrong result."""


class MigrationError(WrongResultError):
    """The server refused a migration. What came before it is recorded; it and what follows are not."""


def one_line(error: BaseException) -> str:
    """The server's own words: its message, detail, hint and SQLSTATE on one line."""
    diag = getattr(error, "diag", None)
    if diag is None or diag.message_primary is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [diag.message_primary]
    parts += [
        f"{word}: {text}" for word, text in (("detail", diag.message_detail), ("hint", diag.message_hint)) if text
    ]
    return " ".join("; ".join(parts).split()) + f" (SQLSTATE {diag.sqlstate})"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with the cause kept.

    ``doing`` says what was being tried, as in "reading the ledger".
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, doing) from error


def _translate(error: psycopg.Error, doing: str) -> Error:
    if is_lost(error):
        return UnreachableError(f"{doing}: the connection was lost: {one_line(error)}", "Run the same command again.")
    return WrongResultError(f"{doing}: {one_line(error)}", REMEDIES.get(error.sqlstate or "", ""))


def is_lost(error: psycopg.Error) -> bool:
    """True when there is no connection any more, by whatever end."""
    import psycopg

    gone = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return gone and isinstance(error, psycopg.OperationalError)


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
