"""The end of waiting for a server that does not answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from postgres.connection import Connection
from postgres.errors import UnreachableError
from seed.verify.clock import Clock

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
