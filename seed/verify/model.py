"""A check, its outcome, and the report of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pgvector_seed.common.errors import Error

if TYPE_CHECKING:
    from .context import Context

# The checks that run a query with the reader's settings and rights.
READER_CHECKS = frozenset({"plan", "recall"})

AFTER_CONNECT = "after connect, which failed"  # the reason of every skip if no connection was made


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105  # not a password
    FAIL = "fail"
    SKIP = "skip"
    NOT_DECLARED = "not declared"


@dataclass(frozen=True)
class Outcome:
    """The verdict of one check on the database, or on one table.

    ``message`` is the actual state; after a skip, and for a key that is not declared, the reason. ``remedy`` is the
    command or the SQL to type after a failure. ``blocks`` names the checks to skip after this failure; None means
    every check that depends on this one.
    """

    status: Status
    expected: str = ""
    message: str = ""
    remedy: str = ""
    blocks: frozenset[str] | None = None


class Fault(NamedTuple):
    """One fault, and the command or the SQL that repairs it."""

    message: str
    remedy: str


class Trial(NamedTuple):
    """The faults of the writer's write, and the reason why it was not tried to the end."""

    faults: Sequence[Fault] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Result:
    """An outcome in the report, with the seconds that the check took. ``table`` is None for the whole database.

    ``column`` is the declared vector column of the table. It is part of the ``place`` if ``has_siblings``: if the
    contract has several vector columns of this table. ``known`` is the message that the check had in an earlier
    report, if it failed there.
    """

    name: str
    table: str | None
    outcome: Outcome
    seconds: float
    column: str | None = None
    has_siblings: bool = False
    known: str | None = None

    @property
    def place(self) -> str:
        """The table, with the column if the contract has several of it; "" for the whole database."""
        return ".".join(filter(None, (self.table, self.column if self.has_siblings else None)))

    @property
    def is_known_failure(self) -> bool:
        """True if the check fails, and failed in the earlier report."""
        return self.outcome.status is Status.FAIL and self.known is not None

    @property
    def is_mended(self) -> bool:
        """True if the check failed in the earlier report, and nothing is wrong with it now."""
        return self.known is not None and self.outcome.status in (Status.PASS, Status.NOT_DECLARED)


@dataclass(frozen=True)
class Report:
    """The results of a run. ``failure`` is the error that ended the run early, or kept it from starting.

    ``subject`` names the database, its server and the login; it is "" if no connection was made.
    ``seconds`` is the time of the run, ``version`` the version of this project. ``known_file`` is the earlier report
    whose failures are known, or "". ``database`` and ``server`` (host and port) are the address that libpq got,
    ``ended`` is the Unix time at the end of the run.
    """

    results: Sequence[Result]
    subject: str = ""
    failure: Error | None = None
    strict: bool = False
    seconds: float = 0.0
    version: str = ""
    known_file: str = ""
    database: str = ""
    server: str = ""
    ended: float = 0.0

    @property
    def error(self) -> str:
        """The message of the failure, or ""."""
        return self.failure.message if self.failure else ""

    @property
    def remedy(self) -> str:
        """The remedy for the failure, or ""."""
        return self.failure.remedy if self.failure else ""

    @property
    def wrong(self) -> list[Result]:
        """The results that make the run fail: failures and, if the run is strict, skips, unless they are known."""
        bad = {Status.FAIL, Status.SKIP} if self.strict else {Status.FAIL}
        return [result for result in self.results if result.outcome.status in bad and result.known is None]

    @property
    def mended(self) -> list[Result]:
        """The results that failed in the earlier report, and do not any more."""
        return [result for result in self.results if result.is_mended]

    @property
    def exit_code(self) -> int:
        """The exit code of the failure; without a failure, 1 if a result is wrong, otherwise 0."""
        return self.failure.exit_code if self.failure else int(bool(self.wrong))


def passed(actual: str, expected: str = "") -> Outcome:
    """Return a pass. Without ``expected``, the actual state stands for it."""
    return Outcome(Status.PASS, expected or actual, actual)


def failed(expected: str, actual: str, remedy: str, blocks: frozenset[str] | None = None) -> Outcome:
    """Return a failure."""
    return Outcome(Status.FAIL, expected, actual, remedy, blocks)


def failed_with(expected: str, faults: Sequence[Fault], blocks: frozenset[str] | None = None) -> Outcome:
    """Return one failure with the messages and the remedies of all faults, each text once."""
    actual = "; ".join(dict.fromkeys(fault.message for fault in faults))
    return failed(expected, actual, "\n".join(dict.fromkeys(fault.remedy for fault in faults)), blocks)


def skipped(reason: str, expected: str = "") -> Outcome:
    """Return a skip: the check could not be run."""
    return Outcome(Status.SKIP, expected, reason)


def not_declared(subject: str) -> Outcome:
    """Return the outcome for a contract that does not declare ``subject``."""
    return Outcome(Status.NOT_DECLARED, "", f"the contract does not declare {subject}")


@dataclass(frozen=True)
class Check:
    """A named check of the database, or of each declared table if ``per_table``.

    ``fails_when`` completes "fails when ..." in the list of checks. ``run`` is called in a read-only transaction that
    is rolled back. ``after`` names the checks that must not have failed before; ``connect`` is always one of them.
    ``prepare`` is called before that transaction.
    """

    name: str
    fails_when: str
    run: Callable[[Context], Outcome]
    after: tuple[str, ...] = ()
    per_table: bool = True
    prepare: Callable[[Context], None] | None = None
