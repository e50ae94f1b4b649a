"""The time limit of a run, and the end of waiting for a server that does not answer."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from psycopg import errors

from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.postgres.connection import Connection

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


# The server ends a statement by itself at the limit, and gets this long to say so.
GRACE_SECONDS = 2.0


@contextmanager
def watched(connection: Connection, clock: Clock, cut: threading.Event) -> Iterator[None]:
    """Cut the connection when the clock has run out, and set ``cut``: whoever waits for an answer then gets an error.

    The socket is shut down, not closed: its number may not be given to another file while libpq still has it.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as line:

        def end() -> None:
            cut.set()
            line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0, clock.end - time.monotonic()) + GRACE_SECONDS, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def stopped_answering(clock: Clock) -> UnreachableError:
    """What to say when the connection was cut."""
    return UnreachableError(
        f"the server stopped answering: nothing came until the time limit of {clock.limit:g} s was over",
        "See whether it is overloaded or the network is cut, or give it more: --time-limit SECONDS",
    )
