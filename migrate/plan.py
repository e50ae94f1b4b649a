"""What is to be run: the files against the ledger. Pure, so it can be asked without a database."""

from __future__ import annotations

from collections.abc import Mapping

from postgres.errors import RefusedError


def plan(files: Mapping[str, str], ledger: Mapping[str, str]) -> list[str]:
    """The ids that are to be applied, in order.

    Both arguments map id to checksum; the number at the head of an id gives the order. History only
    grows at its end: whatever else differs is refused, every fault at once.

    Raises RefusedError when a migration in the ledger was edited or removed, or a new one comes before it.
    """
    faults = [
        f"{name} was edited after it was applied" for name in ledger if files.get(name, ledger[name]) != ledger[name]
    ]
    faults += [f"{name} was applied, and its file is gone" for name in ledger if name not in files]
    new = sorted(files.keys() - ledger.keys())
    last = max(ledger, default="")
    faults += [f"{name} is new, and comes before {last}, which is applied" for name in new if name < last]
    if faults:
        raise RefusedError(
            "the migrations do not continue the ledger: " + "; ".join(faults),
            "Put the files back as they were, and write the change as a new migration with the next number.",
        )
    return new
