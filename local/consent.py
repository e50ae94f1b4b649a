"""Asking before something is destroyed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pgvector_seed.common.errors import InputError, RefusedError

MEANS = {
    "revert": "undo every migration: the tables and what is in them are dropped, and then the extension",
    "retain": "forget the deployment; the tables, the extension and the ledger stay in the database",
}


def require(last: str, today: str, connection: Mapping[str, Any] | None, *, agreed: bool) -> None:
    """Return when destroying may go on.

    ``last`` is the onDestroy of the last ``up``, which is what destroying obeys, and ``today`` the
    configuration's. ``connection`` is the contract's, or None where there is none. ``agreed`` is YES=1.

    Raises RefusedError where the two differ, or where a person says no, and InputError where nobody can
    be asked and YES=1 was not given.
    """
    if last != today:
        raise RefusedError(
            f"the configuration says onDestroy {today}, but destroying obeys the last up, which said {last}",
            "Run make up first, so that both say the same.",
        )
    where = " on {host}:{port}/{dbname}".format(**connection) if connection else ""
    question = f"Destroy the stack{where}? This will {MEANS[last]}."
    if agreed:
        print(question, "YES=1.", flush=True)
    elif not sys.stdin.isatty():
        raise InputError(f"{question} Nobody can be asked here", "To agree: make destroy YES=1")
    elif input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise RefusedError("nothing was destroyed")
