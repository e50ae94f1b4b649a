"""The question before something is destroyed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pgvector_seed.common.errors import InputError, RefusedError

CONSEQUENCES = {
    "revert": "undo every migration: the tables and their rows are dropped, and then the extension",
    "retain": "forget the deployment; the tables, the extension and the ledger stay in the database",
}


def require(last: str, today: str, connection: Mapping[str, Any] | None, *, agreed: bool) -> None:
    """Ask the user whether to destroy the stack; return if the answer is yes, or YES=1 was ``agreed`` beforehand.

    ``last`` is the onDestroy of the last ``up``, which destroying obeys; ``today`` is the configuration's.
    ``connection`` is the contract's, if known. Raises RefusedError if the two differ or the answer is no, and
    InputError if standard input is not a terminal.
    """
    if last != today:
        raise RefusedError(
            f"the configuration says onDestroy {today}, but destroying obeys the last up, which said {last}",
            "Run make up first, so that both say the same.",
        )
    where = " on {host}:{port}/{dbname}".format(**connection) if connection else ""
    question = f"Destroy the stack{where}? This will {CONSEQUENCES[last]}."
    if agreed:
        print(question, "YES=1.", flush=True)
    elif not sys.stdin.isatty():
        raise InputError(
            f"{question} It cannot be asked: standard input is not a terminal", "To agree: make destroy YES=1"
        )
    elif input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise RefusedError("nothing was destroyed")
