"""The time limit of a run, kept also if the server stops answering."""

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

# The server cancels a statement at the deadline, and has this long to report it.
GRACE_SECONDS = 2.0

RAISE_LIMIT = "To allow more time: --time-limit SECONDS"
_SET = "SELECT pg_catalog.set_config(%s, %s, true)"


class OutOfTimeError(Exception):
    """The time limit of the run has passed, or the rest is too short."""


class Deadline:
    """The end of a run, ``limit`` seconds from its creation."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.end = time.monotonic() + limit

    @property
    def seconds_left(self) -> float:
        """The seconds until the deadline, more than 0. Raises OutOfTimeError if it has passed."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError(f"the time limit of {self.limit:g} s was over")
        return left

    @property
    def expiry_error(self) -> UnreachableError | None:
        """The error that ends the run; None before the deadline."""
        message = f"the time limit of {self.limit:g} s was over before every check was made"
        return UnreachableError(message, RAISE_LIMIT) if time.monotonic() > self.end else None

    def within(self, connection: Connection, share: float, work: Callable[[], T]) -> T | None:
        """Return the result of ``work``, or None if a statement in it takes longer than this share of the time left.

        What it sets is reset.
        """
        with contextlib.suppress(errors.QueryCanceled), connection.transaction(force_rollback=True):
            set_timeout(connection, "statement_timeout", share * self.seconds_left)
            return work()
        return None


def set_timeout(connection: Connection, name: str, seconds: float) -> None:
    """Set statement_timeout or lock_timeout for the rest of the transaction."""
    connection.execute(_SET, (name, f"{milliseconds(seconds)}ms"))


def milliseconds(seconds: float) -> int:
    """Return a time for a setting of the server: at least 1, as 0 would be no limit."""
    return max(1, int(seconds * 1000))


@contextmanager
def cut_at_deadline(connection: Connection, deadline: Deadline, cut: threading.Event) -> Iterator[None]:
    """Shut the connection's socket down after the deadline, and set ``cut``: a pending query then raises.

    The socket is not closed, as its number could go to another file while libpq still uses it.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:

        def shut_down() -> None:
            cut.set()
            duplicate.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0, deadline.end - time.monotonic()) + GRACE_SECONDS, shut_down)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def no_answer_error(deadline: Deadline) -> UnreachableError:
    """Return the error for a connection that was cut at the deadline."""
    return UnreachableError(
        f"the server stopped answering before the time limit of {deadline.limit:g} s",
        f"Check whether the server is overloaded or the network is down. {RAISE_LIMIT}",
    )
