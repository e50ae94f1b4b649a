"""Making the checks: each in a read-only transaction of its own, in the order of what is built on what."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from postgres.connection import Connection
from postgres.errors import Error, UnreachableError, one_line
from postgres.relation import parse_name
from search.reader import CannotStandInError, ReaderRefusedError
from seed.verify.check import Check
from seed.verify.checks import CHECKS
from seed.verify.contract import Contract
from seed.verify.look import Clock, Look, NotAllowedError, OutOfTimeError, limit_statements
from seed.verify.outcome import Outcome, Result, Status, failed, not_declared, skipped
from seed.verify.watch import watched

# Names in the catalogue are looked up nowhere else; and nobody's lock is waited for long.
_CAREFUL = "SELECT pg_catalog.set_config('search_path', '', true), pg_catalog.set_config('lock_timeout', %s, true)"
_AT_ONCE = 0.001


class LostError(Exception):
    """There is no connection any more. ``cause`` says why."""

    def __init__(self, cause: UnreachableError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def verify(
    connection: Connection, contract: Contract, names: Collection[str], clock: Clock
) -> tuple[list[Result], UnreachableError | None]:
    """The results of the checks that are named, and what ended the run early, if anything did.

    Raises InputError where the contract names a table in a way that SQL does not know.
    """
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # a standby knows no SERIALIZABLE
    looks = [Look(connection, contract, clock, parse_name(connection, entry.name), entry) for entry in contract.tables]
    run = _Run(Look(connection, contract, clock))
    results: list[Result] = []
    lost: UnreachableError | None = None
    with watched(connection, clock) as stopped_answering:
        for check, look in _pairs(names, run.whole, looks):
            try:
                results.append(_unmade(check, look, lost.message) if lost else run.result(check, look))
            except LostError as error:
                lost = stopped_answering() or error.cause
                results.append(_unmade(check, look, lost.message))
    return results, lost


def _unmade(check: Check, look: Look, reason: str) -> Result:
    return Result(check.name, look.entry.name if look.entry else "", skipped(reason), 0.0)


def _pairs(names: Collection[str], whole: Look, looks: list[Look]) -> Iterator[tuple[Check, Look]]:
    for check in CHECKS.values():
        if check.name in names:
            for look in (looks or [whole]) if check.of_a_table else [whole]:
                yield check, look


class _Run:
    """One run over a database. A check that others are built on is made once, also when it was not asked for."""

    def __init__(self, whole: Look) -> None:
        self.whole = whole
        self.results: dict[tuple[str, int], Result] = {}

    def result(self, check: Check, look: Look) -> Result:
        if not check.of_a_table:
            look = self.whole
        key = (check.name, id(look))
        if key not in self.results:
            self.results[key] = self._result(check, look)
        return self.results[key]

    def _result(self, check: Check, look: Look) -> Result:
        table = look.entry.name if look.entry else ""
        if check.of_a_table and look.entry is None:
            return Result(check.name, table, not_declared("a table"), 0.0)
        gone = self._failed_ground(check, look)
        if gone:
            return _unmade(check, look, f"after {gone}, which failed")
        start = time.monotonic()
        outcome = _judge(check, look)
        return Result(check.name, table, outcome, time.monotonic() - start)

    def _failed_ground(self, check: Check, look: Look) -> str:
        for name in () if check.name == "connect" else ("connect", *check.after):
            outcome = self.result(CHECKS[name], look).outcome
            takes_away = outcome.groundless is None or check.name in outcome.groundless
            if outcome.status is Status.FAIL and takes_away:
                return name
        return ""


def _judge(check: Check, look: Look) -> Outcome:
    """The check's outcome. Whatever it raises is its own outcome, but for the end of the connection."""
    try:
        with _reading(look):
            return check.judge(look)
    except (NotAllowedError, OutOfTimeError, CannotStandInError) as error:
        return skipped(str(error))
    except ReaderRefusedError as error:
        return failed("answers for the reader", str(error), "Grant the reader what the message names.")
    except psycopg.Error as error:
        if look.connection.closed:
            raise LostError(_lost(error)) from error
        if isinstance(error, errors.LockNotAvailable):
            look.lock_seconds = _AT_ONCE  # whoever holds it was waited for once
        return _of_driver(error)
    except Error as error:
        return failed("", error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  # one broken check must not hide the others
        return failed("", f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


@contextmanager
def _reading(look: Look) -> Iterator[None]:
    with look.connection.transaction(force_rollback=True):
        look.connection.execute(_CAREFUL, (f"{look.lock_seconds}s",))
        limit_statements(look.connection, look.clock.left)
        yield


def _lost(error: psycopg.Error) -> UnreachableError:
    return UnreachableError(f"the connection was lost: {one_line(error)}", "Run the same command again.")


def _of_driver(error: psycopg.Error) -> Outcome:
    words = one_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return skipped(words)
    if isinstance(error, errors.QueryCanceled):
        return skipped(f"it took too long: {words}")
    if isinstance(error, errors.LockNotAvailable):
        return skipped(f"somebody holds a lock on the table: {words}")
    return failed("", words, "Ask the server's log what came before this.")
