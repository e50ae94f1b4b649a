"""The errors that this project raises on purpose.

The tree, with the exit codes of the commands::

    Error
    ├── InputError          2  bad usage, configuration or files
    │   └── RefusedError    2  unsafe, so not run: edited history, another deployment's or an untrusted ledger
    ├── UnreachableError    3  no connection, or no login
    ├── InterruptError    130  the user interrupted the command
    └── WrongResultError    1  the command failed, or its result is wrong
        └── MigrationError  1  the server refused a migration
"""

from __future__ import annotations


class Error(Exception):
    """An error: ``message`` says what failed and why, in one line.

    ``remedy`` is a sentence or a command, which is printed after the message.
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
    """Nothing was run, because it would not be safe."""


class UnreachableError(Error):
    """The database cannot be reached, or refuses the login."""

    exit_code = 3


class InterruptError(Error):
    """The user interrupted the command. ``state`` says what the ledger records."""

    exit_code = 130

    def __init__(self, state: str = "") -> None:
        super().__init__(f"interrupted: {state}" if state else "interrupted", "Run the same command again.")


class WrongResultError(Error):
    """The command failed, or its result is wrong."""


class MigrationError(WrongResultError):
    """The server refused a migration, or its down. The ledger has what was done before it."""
