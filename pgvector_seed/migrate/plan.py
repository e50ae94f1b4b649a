"""The plan of a run: the migrations to undo and to apply, from the files and the ledger. Needs no database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.remedies import setting
from pgvector_seed.migrate.files import down_file, up_file

NO_DOWN = "cannot be undone: no down"

PUT_BACK = "Put the file back, and write the change as a new migration with the next number."
REPAIR = f"If the database already has the effect of the edited file: {PROGRAM} migrate repair {{id}}."
RENUMBER = "Give the new file the next number."
_RECORD_DOWN = f"To record this in the ledger: {PROGRAM} migrate apply."
WRITE_DOWN = f"Write {{downs}} beside {{ups}}. {_RECORD_DOWN} Then run the same command again."
PUT_BACK_WITH_DOWN = f"Put {{ups}} back, and write {{downs}}. {_RECORD_DOWN} Then remove the files, and undo again."
ALLOW_DOWN = (
    f"Put the files back; or, to undo what they made: {PROGRAM} migrate apply --allow-down "
    f"(Pulumi: {setting('allowDown', 'true')})"
)


@dataclass(frozen=True)
class Plan:
    """The ids to undo, then the ids to apply, each in order of execution."""

    undo: tuple[str, ...] = ()
    apply: tuple[str, ...] = ()

    def lines(self, irreversible: Collection[str]) -> list[str]:
        """Return a line for each step. ``irreversible`` are the ids that have no down."""
        return [f"undo {id_}" for id_ in self.undo] + [
            f"apply {id_}{f'; {NO_DOWN}' if id_ in irreversible else ''}" for id_ in self.apply
        ]


def plan(
    files: Mapping[str, str],
    ledger: Mapping[str, str],
    irreversible: Collection[str] = (),
    *,
    allow_down: bool = False,
) -> Plan:
    """Return the steps that lead from the ledger to the files.

    ``files`` and ``ledger`` map id to checksum, the ledger in order of application. ``irreversible`` are the ids of
    the ledger that have no down. Migrations are added at the end, and removed from the end under ``allow_down``.

    Raises RefusedError, with every fault, if the files and the ledger differ in any other way.
    """
    last_common = max((id_ for id_ in ledger if id_ in files), default="")
    removed = [id_ for id_ in reversed(list(ledger)) if id_ not in files and id_ > last_common]
    new = sorted(files.keys() - ledger.keys())
    faults = list(_faults(files, ledger, last_common))
    if faults:
        messages, remedies = zip(*faults, strict=True)
        raise RefusedError(
            "the migrations do not continue the ledger: " + "; ".join(messages), " ".join(dict.fromkeys(remedies))
        )
    if removed and not allow_down:
        raise RefusedError(f"applied, and its file is missing: {', '.join(reversed(removed))}", ALLOW_DOWN)
    refuse_irreversible(removed, irreversible, PUT_BACK_WITH_DOWN)
    return Plan(tuple(removed), tuple(new))


def _faults(files: Mapping[str, str], ledger: Mapping[str, str], last_common: str) -> Iterator[tuple[str, str]]:
    """Yield each fault with its remedy."""
    for id_ in ledger:
        if id_ in files and files[id_] != ledger[id_]:
            yield f"{id_} was edited after it was applied", f"{PUT_BACK} {REPAIR.format(id=id_)}"
        if id_ not in files and id_ < last_common:
            yield f"{id_} was applied, and its file is missing", PUT_BACK
    for id_ in sorted(files.keys() - ledger.keys()):
        if id_ < last_common:
            yield f"{id_} is new, and comes before {last_common}, which is applied", RENUMBER
    for old, new in _renamed(files, ledger):
        yield f"{old} was applied, and its file was renamed to {new}", f"Rename the file back to {old}."
    for id_, expected in zip(ledger, sorted(ledger), strict=True):
        if id_ != expected:
            yield (
                f"the ledger has {id_} in the place of {expected}",
                "The ledger was edited by hand: restore its positions.",
            )


def _renamed(files: Mapping[str, str], ledger: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the old and new id of each renamed file: to undo it and apply it again would lose the rows."""
    missing = {checksum: id_ for id_, checksum in ledger.items() if id_ not in files}
    return ((missing[checksum], id_) for id_, checksum in files.items() if id_ not in ledger and checksum in missing)


def refuse_irreversible(ids: Collection[str], irreversible: Collection[str], remedy: str = WRITE_DOWN) -> None:
    """Raise RefusedError, with the names of the files in ``remedy``, if a migration to be undone has no down."""
    without_down = [id_ for id_ in ids if id_ in irreversible]
    if without_down:
        ups, downs = (", ".join(map(name, without_down)) for name in (up_file, down_file))
        raise RefusedError(
            f"no down was recorded for {', '.join(without_down)}, so it cannot be undone",
            remedy.format(ups=ups, downs=downs),
        )
