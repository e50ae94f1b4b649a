"""Every error this project raises on purpose.

The tree, with the exit codes of the commands::

    Error
    ├── InputError          2  bad usage, configuration or files
    │   └── RefusedError    2  the plan would break a promise, such as edited history, or trust a stranger's ledger
    ├── UnreachableError    3  no connection, or no login
    ├── InterruptError    130  the user stopped it
    └── WrongResultError    1  the work was tried, and failed or gave a wrong result
        └── MigrationError  1  the server refused a migration
"""

from __future__ import annotations


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
