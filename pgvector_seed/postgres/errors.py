"""Translating the driver's errors into those of ``common.errors``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgvector_seed.common.errors import Error, UnreachableError, WrongResultError

_AGAIN = "Run the same command again."
REMEDIES = {
    "25006": (
        "This server is read-only. Connect to the primary: of several hosts, PGTARGETSESSIONATTRS=read-write selects "
        "it."
    ),
    "40001": (
        f"{_AGAIN} If a standby's replay is the cause, set there: hot_standby_feedback = on, or a longer "
        "max_standby_streaming_delay."
    ),
    "40P01": _AGAIN,
    "42501": "Use a role that has this privilege, or grant it.",
    "42P06": "Drop that schema if it is empty, or rename it, and run the same command again.",
    "53100": "Free some space on the server's disk, and run the same command again.",
}
_WITH_ROW = ("23502", "23514")  # a NULL, a violated check: the detail has all values of the row
_LONGEST_DETAIL = 80  # characters, of a detail with a row


def one_line(error: BaseException) -> str:
    """Return the message, detail, hint and SQLSTATE of a server's error on one line."""
    diag = getattr(error, "diag", None)
    if diag is None or diag.message_primary is None:
        return " ".join(str(error).split()) or type(error).__name__
    detail = diag.message_detail
    if detail and len(detail) > _LONGEST_DETAIL and diag.sqlstate in _WITH_ROW:
        detail = f"{detail[:_LONGEST_DETAIL]}..."
    parts = [diag.message_primary]
    parts += [f"{label}: {text}" for label, text in (("detail", detail), ("hint", diag.message_hint)) if text]
    return " ".join("; ".join(parts).split()) + f" (SQLSTATE {diag.sqlstate})"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise the driver's errors in the block as UnreachableError or WrongResultError, from their cause.

    ``doing`` names the action, as in "reading the ledger".
    """
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, doing) from error


def _translate(error: psycopg.Error, doing: str) -> Error:
    if is_connection_lost(error):
        return UnreachableError(f"{doing}: the connection was lost: {one_line(error)}", remedy_of_lost(error))
    return WrongResultError(f"{doing}: {one_line(error)}", REMEDIES.get(error.sqlstate or "", ""))


def is_connection_lost(error: psycopg.Error) -> bool:
    """Return True if the connection was lost, or the server closed it."""
    is_closed = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    is_closed = is_closed or error.diag.severity_nonlocalized == "FATAL"  # a standby's replay: 40001
    return is_closed and isinstance(error, psycopg.OperationalError)


def remedy_of_lost(error: psycopg.Error) -> str:
    """Return the remedy for a lost connection."""
    return REMEDIES.get(error.sqlstate or "", _AGAIN)
