"""The time limit of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg import errors

from postgres.connection import Connection
from postgres.errors import UnreachableError

T = TypeVar("T")

_LIMIT = "SELECT pg_catalog.set_config(%s, %s, true)"


class OutOfTimeError(Exception):
    """The time limit of the run is over."""


class Clock:
    """How much of the run's time is left, in seconds."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.end = time.monotonic() + limit

    @property
    def left(self) -> float:
        """The rest. Raises OutOfTimeError when it is over."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError(f"the time limit of {self.limit:g} s was over")
        return left

    @property
    def over(self) -> UnreachableError | None:
        """What ends the run when nothing is left."""
        words = f"the time limit of {self.limit:g} s was over before every check was made"
        return UnreachableError(words, "Give it more: --time-limit SECONDS") if time.monotonic() > self.end else None

    def within(self, connection: Connection, part: float, work: Callable[[], T]) -> T | None:
        """What ``work`` returns, or None when it takes longer than this part of the time that is left."""
        with contextlib.suppress(errors.QueryCanceled), connection.transaction():
            limit_statements(connection, part * self.left)
            return work()
        return None


def limit_statements(connection: Connection, seconds: float) -> None:
    """Until the transaction ends, the server ends a statement that takes longer."""
    _limit(connection, "statement_timeout", seconds)


def limit_locks(connection: Connection, seconds: float) -> None:
    """Until the transaction ends, no lock is waited for longer."""
    _limit(connection, "lock_timeout", seconds)


def _limit(connection: Connection, name: str, seconds: float) -> None:
    connection.execute(_LIMIT, (name, f"{max(1, int(seconds * 1000))}ms"))
