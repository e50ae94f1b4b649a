"""What a check is and says, and the report that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pgvector_seed.common.errors import Error

if TYPE_CHECKING:
    from .context import Look

# The checks that ask as the reader does.
AS_READER = frozenset({"plan", "recall"})


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105  # not a password
    FAIL = "fail"
    SKIP = "skip"
    NOT_DECLARED = "not declared"


@dataclass(frozen=True)
class Outcome:
    """What a check says of one thing. ``remedy`` is the command or the SQL to type after a failure.

    ``found`` is the reason of a skip, and of what is not declared.

    ``blocks`` has the names of the checks that cannot be judged after this failure; None stands for all
    that are built on this one.
    """

    status: Status
    expected: str = ""
    found: str = ""
    remedy: str = ""
    blocks: frozenset[str] | None = None


class Fault(NamedTuple):
    """One thing that is wrong, and the command or the SQL that mends it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Result:
    """An outcome in the report. ``table`` is "" for a check of the whole database.

    ``seconds`` is how long the check itself took.
    """

    name: str
    table: str
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Report:
    """What was found. ``failure`` is what ended the run early, or kept it from beginning.

    ``subject`` says what was looked at: the database, its server and who asks; "" when it was never reached.
    ``version`` is this project's.
    """

    results: Sequence[Result]
    subject: str = ""
    failure: Error | None = None
    strict: bool = False
    seconds: float = 0.0
    version: str = ""

    @property
    def error(self) -> str:
        """What ended the run, or ""."""
        return self.failure.message if self.failure else ""

    @property
    def remedy(self) -> str:
        """What to do about that, or ""."""
        return self.failure.remedy if self.failure else ""

    @property
    def wrong(self) -> list[Result]:
        """The results that make the run fail."""
        bad = {Status.FAIL, Status.SKIP} if self.strict else {Status.FAIL}
        return [result for result in self.results if result.outcome.status in bad]

    @property
    def exit_code(self) -> int:
        """0 right, 1 a check failed, otherwise the failure's own."""
        return self.failure.exit_code if self.failure else int(bool(self.wrong))


def passed(found: str, expected: str = "") -> Outcome:
    """All is as it should be."""
    return Outcome(Status.PASS, expected or found, found)


def failed(expected: str, found: str, remedy: str, blocks: frozenset[str] | None = None) -> Outcome:
    """Something is wrong."""
    return Outcome(Status.FAIL, expected, found, remedy, blocks)


def failed_by(expected: str, faults: Sequence[Fault], blocks: frozenset[str] | None = None) -> Outcome:
    """The failure that these make together."""
    found = "; ".join(dict.fromkeys(fault.what for fault in faults))
    return failed(expected, found, "\n".join(dict.fromkeys(fault.remedy for fault in faults)), blocks)


def skipped(reason: str, expected: str = "") -> Outcome:
    """It cannot be judged, and why."""
    return Outcome(Status.SKIP, expected, reason)


def not_declared(what: str) -> Outcome:
    """The contract leaves it out. ``what`` names the keys."""
    return Outcome(Status.NOT_DECLARED, "", f"the contract does not declare {what}")


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
