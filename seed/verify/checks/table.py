"""table: it is there, holds rows itself or in partitions, and outlives a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.vectors.tables import Leaf

from ..context import Look
from ..model import Check, Fault, Outcome, failed, failed_by, passed

_KINDS = {"r": "a table", "p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
_KINDS_OF_TABLES = ("r", "p")
_EXPECTED = "a table or a partitioned table that outlives a crash"


def judge(look: Look) -> Outcome:
    """Judge the relation that bears the name, and its partitions."""
    found = look.relation
    if found is None:
        return failed(_EXPECTED, "it is not there", f"See what was applied: {PROGRAM} migrate status")
    if found.kind not in _KINDS_OF_TABLES:
        return failed(_EXPECTED, _KINDS[found.kind], "Correct the contract, or make it a table by a migration.")
    faults = list(_faults(look.leaves))
    if faults:
        return failed_by(_EXPECTED, faults)
    partitions = f" with {len(look.leaves)} partitions" if found.kind == "p" else ""
    return passed(_KINDS[found.kind] + partitions, _EXPECTED)


def _faults(leaves: Sequence[Leaf]) -> Iterator[Fault]:
    for leaf in leaves:
        if leaf.persistence == "u":
            yield Fault(f"{leaf.name} is unlogged: a crash empties it", f"ALTER TABLE {leaf.name} SET LOGGED;")
        if leaf.persistence == "t":
            yield Fault(f"{leaf.name} is temporary", "Make it an ordinary table by a migration.")
        if leaf.kind == "f":
            yield Fault(f"{leaf.name} is a foreign table", "Have its rows in a partition of this database.")


CHECK = Check("table", "it is absent, no ordinary or partitioned table, or a crash would empty it", judge)
