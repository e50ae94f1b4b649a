"""What is to be run: the files against the ledger. Pure, so it can be asked without a database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from postgres.errors import RefusedError

REMEDY = (
    "Put the files back as they were, and write the change as a new migration with the next number. "
    "Where the database already has what the edited file makes: python -m migrate repair ID"
)
REMEDY_REMOVED = (
    "Put the files back; or, to undo what they made: python -m migrate apply --allow-down "
    "(Pulumi: pulumi config set allowDown true)"
)


@dataclass(frozen=True)
class Plan:
    """The ids to undo and then those to apply, each in the order in which it is done."""

    downs: tuple[str, ...] = ()
    ups: tuple[str, ...] = ()


def plan(
    files: Mapping[str, str],
    ledger: Mapping[str, str],
    irreversible: Collection[str] = (),
    *,
    allow_down: bool = False,
) -> Plan:
    """The steps that lead from the ledger to the files.

    Both map id to checksum, the ledger in its own order; the number at the head of an id gives the
    order of the files. ``irreversible`` has the ids of the ledger that have no down. History only grows
    at its end, and shrinks there under ``allow_down``: whatever else differs is refused, every fault at once.

    Raises RefusedError.
    """
    last_kept = max((name for name in ledger if name in files), default="")
    removed = [name for name in reversed(list(ledger)) if name not in files and name > last_kept]
    new = sorted(files.keys() - ledger.keys())
    faults = _faults(files, ledger, last_kept)
    if faults:
        raise RefusedError("the migrations do not continue the ledger: " + "; ".join(faults), REMEDY)
    if removed and not allow_down:
        gone = ", ".join(reversed(removed))
        raise RefusedError(f"applied, and its file is gone: {gone}", REMEDY_REMOVED)
    refuse_irreversible(removed, irreversible)
    return Plan(tuple(removed), tuple(new))


def _faults(files: Mapping[str, str], ledger: Mapping[str, str], last_kept: str) -> list[str]:
    order = list(ledger)
    faults = [
        f"{name} was edited after it was applied" for name in ledger if files.get(name, ledger[name]) != ledger[name]
    ]
    faults += [f"{name} was applied, and its file is gone" for name in ledger if name not in files and name < last_kept]
    faults += [
        f"{name} is new, and comes before {last_kept}, which is applied"
        for name in sorted(files.keys() - ledger.keys())
        if name < last_kept
    ]
    faults += [
        f"the ledger has {name} in another place"
        for name, right in zip(order, sorted(order), strict=True)
        if name != right
    ]
    return faults


def refuse_irreversible(names: Collection[str], irreversible: Collection[str]) -> None:
    """Raise RefusedError where one of the migrations that are to be undone has no down."""
    stuck = [name for name in names if name in irreversible]
    if stuck:
        raise RefusedError(
            f"no down was recorded for {', '.join(stuck)}, so it cannot be undone",
            "Put a .down.sql beside its .up.sql and apply once more, which records it; or leave it as it is.",
        )
