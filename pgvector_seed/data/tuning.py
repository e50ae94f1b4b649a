"""A tuning of a search: its aim, its subject, its levels and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pgvector_seed.data.levels import ServingIndex
from pgvector_seed.data.measuring import Measurement
from pgvector_seed.data.search import Search
from pgvector_seed.vectors.recall import Recall
from pgvector_seed.vectors.scan_settings import INSTEAD_OF_BITS, SEARCH_SETTINGS

_OTHER_METHOD = "Raise the search settings of the index, or rebuild it with parameters for a higher recall."


@dataclass(frozen=True)
class Aim:
    """The goal of a tuning. ``k`` and ``target`` are the contract's if they are None.

    ``queries`` is their number; those of ``file`` replace stored vectors. ``all_levels`` goes on to the largest value.
    """

    k: int | None = None
    target: float | None = None
    queries: int = 400
    file: str | None = None
    all_levels: bool = False


@dataclass(frozen=True)
class Level:
    """A value of the setting with its measurement, None if the access method has no known setting.

    ``confirmed`` is the recall of the queries that were held back, None if they were not asked.
    """

    value: int | None
    measured: Measurement
    confirmed: Recall | None = None


@dataclass(frozen=True)
class Subject:
    """The subject of a tuning. ``choosing`` and ``confirming`` are numbers of queries.

    The queries are stored vectors unless they are ``from_file``. ``reader`` is the contract's role.
    """

    search: Search
    index: ServingIndex
    k: int
    target: float
    choosing: int
    confirming: int
    reader: str | None
    from_file: bool = False


@dataclass(frozen=True)
class Tuning:
    """The levels, and the recommended one with the ``settings`` that it needs; None if no level meets the target."""

    subject: Subject
    levels: list[Level]
    recommended: Level | None
    settings: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    def is_complete(self, more: int) -> bool:
        """Return True if a level is recommended, and so many more were measured."""
        return self.recommended is not None and len(self.levels) > self.levels.index(self.recommended) + more


class Reporter(Protocol):
    """Gets the progress of a tuning."""

    def began(self, subject: Subject) -> None:
        """Report what is tuned, before the first level."""

    def progress(self, line: str) -> None:
        """Report the progress until then."""

    def measured(self, level: Level) -> None:
        """Report a level."""


def remedy_of(subject: Subject) -> str:
    """Return what raises the recall if no value of the setting does."""
    if subject.search.column.bits:
        return INSTEAD_OF_BITS.capitalize()
    setting = SEARCH_SETTINGS.get(subject.index.method)
    return setting.rebuild.capitalize() if setting else _OTHER_METHOD
