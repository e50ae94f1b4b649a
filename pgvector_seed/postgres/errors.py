"""The driver's errors, translated into ours in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgvector_seed.common.errors import Error, UnreachableError, WrongResultError

REMEDIES = {
    "25006": "This server takes no writes. Among several, PGTARGETSESSIONATTRS=read-write finds the one that does.",
    "40P01": "Run the same command again.",
    "42501": "Use a role that has this right, or have it granted.",
    "42P06": "Somebody made that schema: drop it if it is empty, or rename it, and run the same command again.",
    "53100": "Free some room on the server's disk, and run the same command again.",
}


def one_line(error: BaseException) -> str:
    """The server's own words: its message, detail, hint and SQLSTATE on one line."""
    diag = getattr(error, "diag", None)
    if diag is None or diag.message_primary is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [diag.message_primary]
    parts += [
        f"{word}: {text}" for word, text in (("detail", diag.message_detail), ("hint", diag.message_hint)) if text
    ]
    return " ".join("; ".join(parts).split()) + f" (SQLSTATE {diag.sqlstate})"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with the cause kept.

    ``doing`` says what was being tried, as in "reading the ledger".
    """
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, doing) from error


def _translate(error: psycopg.Error, doing: str) -> Error:
    if is_lost(error):
        return UnreachableError(f"{doing}: the connection was lost: {one_line(error)}", "Run the same command again.")
    return WrongResultError(f"{doing}: {one_line(error)}", REMEDIES.get(error.sqlstate or "", ""))


def is_lost(error: psycopg.Error) -> bool:
    """True when there is no connection any more, by whatever end."""
    gone = error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return gone and isinstance(error, psycopg.OperationalError)
