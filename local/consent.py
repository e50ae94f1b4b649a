"""The question before something is destroyed."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from textwrap import fill
from typing import Any

from pgvector_seed.common.errors import InputError, InterruptError, RefusedError

COLUMNS = 78  # of a terminal of 80, for the answer's y
NOTHING_DESTROYED = "nothing was destroyed"
NOTHING_TO_DESTROY = "nothing to destroy: this database has no deployment"

CONSEQUENCES = {
    "revert": "undo every migration: the tables and their rows are dropped, and then the extension",
    "retain": "forget the deployment; the tables, the extension and the ledger stay in the database",
}


def require(
    last: str,
    today: str,
    connection: Mapping[str, Any] | None,
    *,
    agreed: bool,
    irreversible: Collection[str] = (),
) -> None:
    """Ask the user whether to destroy the stack; return if the answer is yes, or YES=1 was ``agreed`` beforehand.

    ``last`` is the onDestroy of the last ``up``, which destroying obeys; ``today`` is the configuration's.
    ``connection`` is the contract's, if known. ``irreversible`` are the migrations that have no down.

    Raises RefusedError if the two differ, the stack cannot be undone or the answer is no, InterruptError if there is
    an interrupt instead, and InputError if standard input is not a terminal.
    """
    if last != today:
        raise RefusedError(
            f"the configuration says onDestroy {today}, but destroying obeys the last up, which said {last}",
            "Run make up first, so that both say the same.",
        )
    if last == "revert" and irreversible:
        raise RefusedError(
            f"{NOTHING_DESTROYED}: {', '.join(irreversible)} {'has' if len(irreversible) == 1 else 'have'} no down",
            f"Write {', '.join(f'migrations/{id_}.down.sql' for id_ in irreversible)}, and run: make up\n"
            "Or keep the tables: onDestroy: retain in Pulumi.dev.yaml, then make up,\nand make destroy again",
        )
    place = " on {host}:{port}/{dbname}".format(**connection) if connection else ""
    question = f"Destroy the stack{place}? This will {CONSEQUENCES[last]}."
    if agreed:
        print(fill(f"{question} YES=1.", COLUMNS), flush=True)
    elif not sys.stdin.isatty():
        raise InputError(
            f"{question} It cannot be asked: standard input is not a terminal", "To agree: make destroy YES=1"
        )
    elif _answer(f"{fill(f'{question} [y/N]', COLUMNS)} ") not in ("y", "yes"):
        raise RefusedError(NOTHING_DESTROYED)


def _answer(question: str) -> str:
    """Return the answer to a question; "" at the end of the input. Raises InterruptError at an interrupt."""
    try:
        return input(question).strip().lower()
    except EOFError:
        print()
        return ""
    except KeyboardInterrupt:
        print()
        raise InterruptError(NOTHING_DESTROYED) from None
