"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seed.verify.look import Look
from seed.verify.outcome import Outcome


@dataclass(frozen=True)
class Check:
    """A named question about the database, or about each of its tables.

    ``after`` names the checks it is built on: when one of them fails, there is nothing left to judge. All but
    ``connect`` are built on ``connect``. ``judge`` runs in a read-only transaction that is rolled back.
    """

    name: str
    fails_when: str
    judge: Callable[[Look], Outcome]
    after: tuple[str, ...] = ()
    of_a_table: bool = True
