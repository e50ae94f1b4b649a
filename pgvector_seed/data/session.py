"""A connection that is opened again if it is lost, and the translation of the server's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from pgvector_seed.common.errors import UnreachableError, WrongResultError
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line
from pgvector_seed.postgres.interrupt import ending_with_client, pause

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # the waits before a lost connection is opened again
AGAIN = "Run the same command again: what is loaded is left as it is."

Result = TypeVar("Result")


class Session:
    """A connection for work that may run twice. Use it in ``with``."""

    def __init__(self, conninfo: str = "") -> None:
        self.conninfo = conninfo
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(type_, error, traceback)  # which raises InterruptError after an interrupt

    def _open(self) -> None:
        self._stack.close()
        self.connection = self._stack.enter_context(connect(self.conninfo))
        self.connection.execute(ending_with_client(local=False))

    def run(self, work: Callable[[Connection, bool], Result]) -> Result:
        """Return the result of ``work``, which is called again after the connection was lost.

        Its arguments are the connection, and whether an earlier call may have done the work. Raises UnreachableError
        after the last of RETRY_SECONDS, and WrongResultError if the server refuses the work.
        """
        for number, seconds in enumerate((*RETRY_SECONDS, None)):
            try:
                if self.connection.closed:
                    self._open()
                with refusals():
                    return work(self.connection, number > 0)
            except UnreachableError:
                if seconds is None:
                    raise
                self.connection.close()
                pause(seconds)
        raise AssertionError


@contextmanager
def refusals() -> Iterator[None]:
    """Raise the server's errors as UnreachableError or WrongResultError, with the row that caused them."""
    try:
        yield
    except psycopg.Error as error:
        if is_connection_lost(error):
            raise UnreachableError(f"the connection was lost: {one_line(error)}", AGAIN) from error
        place = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        fix = "Fix the row in the file first: nothing" if place or _is_about_a_row(error) else "Nothing"
        remedy = REMEDIES.get(error.sqlstate or "", f"{fix} of this block was stored. {AGAIN}")
        raise WrongResultError(f"{place}the server refuses it: {one_line(error)}", remedy) from error


def _is_about_a_row(error: psycopg.Error) -> bool:
    """Return True for a bad value, a violated constraint, or an error that a trigger raised."""
    return (error.sqlstate or "").startswith(("22", "23", "P0"))
