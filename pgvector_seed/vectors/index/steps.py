"""The steps that build or replace an index, derived from the indexes that exist, so that no record is kept.

An index NAME is built as NAME_new, which serves queries as soon as it is valid. One transaction then renames NAME to
NAME_old and NAME_new to NAME, and NAME_old is dropped. After a kill at any moment, the next run goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pgvector_seed.vectors.index.definition import NEW, OLD

CURRENT = ""
SUFFIXES = (CURRENT, NEW, OLD)


class Action(Enum):
    """An action on the index with one of the three names. REFUSE: it is not ours to drop or rename."""

    BUILD = "build"
    RENAME = "rename"
    DROP = "drop"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Step:
    """One step. ``suffix`` tells which of the three names it is about."""

    action: Action
    suffix: str


@dataclass(frozen=True)
class NamedIndex:
    """A relation with one of the three names.

    ``ours`` is True for an index on the declared table and column, ``declared`` for one with the declared definition,
    whether it is valid or not.
    """

    ours: bool
    valid: bool = False
    declared: bool = False


def next_step(
    current: NamedIndex | None, new: NamedIndex | None, old: NamedIndex | None, *, partitioned: bool = False
) -> Step | None:
    """Return the next step for the indexes NAME, NAME_new and NAME_old, each None if missing; None at the end.

    A ``partitioned`` index NAME_new is invalid until all partitions have theirs, so its build goes on.
    """
    for suffix, index in zip(SUFFIXES, (current, new, old), strict=True):
        if index and not index.ours:
            return Step(Action.REFUSE, suffix)
    if old and current and current.valid:
        return Step(Action.DROP, OLD)
    if current and current.valid and current.declared:
        return Step(Action.DROP, NEW) if new else None
    if new and not (new.declared and (new.valid or partitioned)):
        return Step(Action.DROP, NEW)
    if not (new and new.valid):
        return Step(Action.BUILD, NEW)
    if old and current:  # an invalid NAME needs the name NAME_old, and NAME_new serves the queries
        return Step(Action.DROP, OLD)
    return Step(Action.RENAME, NEW)
