"""The end of the work when the user, or the client itself, is gone.

An interrupt reaches the main thread as KeyboardInterrupt, and psycopg then cancels its statement. Work in
other threads is ended by ``stop``. A client that is killed can do nothing: the server looks after it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import Error, InterruptError

# A request that meets the session between two statements does nothing.
_AGAIN_SECONDS = 0.5
# The systems on which the server can tell that a client is gone; elsewhere it takes no value but 0.
_ENDING_WITH_CLIENT = sql.SQL("""
SELECT pg_catalog.set_config(name, '1s', {local}) FROM pg_catalog.pg_settings
WHERE name = 'client_connection_check_interval' AND pg_catalog.version() ~ 'linux|darwin|bsd'
""")

_stopped = Event()
_at_work: set[psycopg.Connection[Any]] = set()


def ending_with_client(*, local: bool) -> sql.Composed:
    """Return SQL that has the server end this session's statements within a second of losing the client.

    ``local`` limits it to this transaction, for a session that a pooler may give to others.
    """
    return _ENDING_WITH_CLIENT.format(local=sql.Literal(local))


def note() -> None:
    """Have ``stoppable`` raise InterruptError, and refuse new work."""
    _stopped.set()


def stop() -> None:
    """Cancel the statements of every ``stoppable`` connection, and refuse new work. Returns at once."""
    note()
    Thread(target=_cancel, daemon=True).start()


def _cancel() -> None:
    while _at_work:
        for connection in tuple(_at_work):
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe()
        time.sleep(_AGAIN_SECONDS)


def pause(seconds: float) -> None:
    """Wait. Raises InterruptError after ``stop``."""
    if _stopped.wait(seconds):
        raise InterruptError


def refuse_to_go_on() -> None:
    """Raise InterruptError after ``stop``."""
    if _stopped.is_set():
        raise InterruptError


@contextlib.contextmanager
def stoppable(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let ``stop`` cancel this connection's statements. Raises InterruptError then.

    The connection can still be asked what is on record.
    """
    _at_work.add(connection)
    try:
        refuse_to_go_on()
        yield
    except InterruptError:
        raise
    except (psycopg.Error, Error):
        refuse_to_go_on()
        raise
    finally:
        _at_work.discard(connection)  # of an outer one, too: what is asked of it next is short, and is to be answered
