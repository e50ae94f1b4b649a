"""Stopping statements after an interrupt, or after the client died.

An interrupt reaches the main thread as KeyboardInterrupt, and psycopg then cancels its statement. ``stop`` cancels the
statements of other threads. If the client is killed, the server ends its statements: see ``ending_with_client``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from threading import Event, Lock, Thread
from typing import Any

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import Error, InterruptError

# Cancelling is repeated: a request between two statements has no effect.
_REPEAT_SECONDS = 0.5
_CANCEL_SECONDS = 5.0  # for one request
# Only on these systems can the server detect a lost client; elsewhere it allows no value but 0.
_ENDING_WITH_CLIENT = sql.SQL("""
SELECT pg_catalog.set_config(name, '1s', {local}) FROM pg_catalog.pg_settings
WHERE name OPERATOR(pg_catalog.=) 'client_connection_check_interval'
  AND pg_catalog.version() OPERATOR(pg_catalog.~) 'linux|darwin|bsd'
""")

_stopped = Event()
_active: set[psycopg.Connection[Any]] = set()
_canceling = Lock()  # a request that arrives late must not meet the statements after the block


def ending_with_client(*, local: bool) -> sql.Composed:
    """Return SQL that has the server end this session's statements within a second of losing the client.

    ``local`` limits it to this transaction, for a session that a pooler may give to others.
    """
    return _ENDING_WITH_CLIENT.format(local=sql.Literal(local))


def mark_stopped() -> None:
    """Have ``stoppable``, ``pause`` and ``raise_if_stopped`` raise InterruptError from now on."""
    _stopped.set()


def stop() -> None:
    """Cancel the statements of every ``stoppable`` connection, and ``mark_stopped``. Returns at once."""
    mark_stopped()
    Thread(target=_cancel, daemon=True).start()


def _cancel() -> None:
    while _active:
        with _canceling:
            for connection in tuple(_active):
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=_CANCEL_SECONDS)
        time.sleep(_REPEAT_SECONDS)


def pause(seconds: float) -> None:
    """Wait for ``seconds``. Raises InterruptError if the work was stopped."""
    if _stopped.wait(seconds):
        raise InterruptError


def raise_if_stopped() -> None:
    """Raise InterruptError if the work was stopped."""
    if _stopped.is_set():
        raise InterruptError


@contextlib.contextmanager
def stoppable(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let ``stop`` cancel this connection's statements in the block, which then raises InterruptError.

    The connection stays open, and can be used to read the ledger.
    """
    _active.add(connection)
    try:
        raise_if_stopped()
        yield
    except InterruptError:
        raise
    except (psycopg.Error, Error):
        raise_if_stopped()
        raise
    finally:
        with _canceling:  # also for an outer block: its last queries are short, and must not be cancelled
            _active.discard(connection)
