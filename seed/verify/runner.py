"""Making the checks: each in a read-only transaction of its own, after those that it is built on."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors, sql

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.migrate.contract import Contract
from pgvector_seed.postgres.catalog import parse_name
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line, translated
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.reader import CannotImpersonateError, ReaderRefusedError

from .checks import CHECKS
from .context import Look, NotAllowedError
from .deadline import Clock, OutOfTimeError, limit_locks, limit_statements
from .model import Check, Outcome, Result, Status, failed, not_declared, skipped

# A table that was swapped for a view since it was judged is not read. Not every minor version has the setting.
_CAREFUL = sql.SQL("""
SELECT pg_catalog.set_config(name, 'view, foreign-table', true) FROM pg_catalog.pg_settings
WHERE name = 'restrict_nonsystem_relation_kind';
{ending_with_client}
""")
_AT_ONCE = 0.001


def verify(
    connection: Connection, contract: Contract, names: Collection[str], clock: Clock
) -> tuple[list[Result], UnreachableError | None]:
    """The results of the checks that are named, and what ended the run early, if anything did.

    Raises InputError where the contract names a table in a way that SQL does not know.
    """
    whole = Look(connection, contract, clock)
    with translated("looking for the tables"):
        named = [(parse_name(connection, table.name), table) for table in contract.tables or ()]
    tables = [Look(connection, contract, clock, name, table) for name, table in named]
    made: dict[tuple[str, int], Outcome] = {}
    results: list[Result] = []
    lost: UnreachableError | None = None  # or out of time
    for check in _needed(names):
        for place, look in enumerate((tables or [whole]) if check.of_a_table else [whole]):
            start = time.monotonic()
            lost = lost or clock.over
            try:
                outcome = skipped(lost.message) if lost else _outcome(check, look, place, made)
            except UnreachableError as error:
                lost = error
                outcome = skipped(lost.message)
            made[check.name, place] = outcome
            results.append(Result(check.name, look.title, outcome, time.monotonic() - start))
    return [result for result in results if result.name in names], lost


def _needed(names: Collection[str]) -> list[Check]:
    """The checks with all that they are built on, in the order of CHECKS, in which those come first."""
    wanted = {"connect", *names}
    for check in reversed(CHECKS.values()):
        if check.name in wanted:
            wanted.update(check.after)
    return [check for check in CHECKS.values() if check.name in wanted]


def _outcome(check: Check, look: Look, place: int, made: dict[tuple[str, int], Outcome]) -> Outcome:
    if check.of_a_table and look.entry is None:
        return not_declared("a table")
    for name in () if check.name == "connect" else ("connect", *check.after):
        before = made[name, place if CHECKS[name].of_a_table else 0]
        if before.status is Status.FAIL and (before.blocks is None or check.name in before.blocks):
            return skipped(f"after {name}, which failed")
    return _judge(check, look)


def _judge(check: Check, look: Look) -> Outcome:
    """The check's outcome. Whatever it raises is its own outcome, but for the end of the connection."""
    try:
        with reading(look.connection, look.clock, look.lock_seconds):
            return check.judge(look)
    except (NotAllowedError, OutOfTimeError, CannotImpersonateError) as error:
        return skipped(str(error))
    except ReaderRefusedError as error:
        return failed("answers for the reader", str(error), "Give the reader the right that the message names.")
    except psycopg.Error as error:
        if look.connection.closed or is_connection_lost(error):
            words = f"the connection was lost: {one_line(error)}"
            raise UnreachableError(words, "Run the same command again.") from error
        return _of_driver(error, look)
    except Error as error:
        return failed("", error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  # one broken check must not hide the others
        return failed("", f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


@contextmanager
def reading(connection: Connection, clock: Clock, lock_seconds: float) -> Iterator[None]:
    """Read in a catalog_snapshot, in which no statement takes longer than the time that is left."""
    with catalog_snapshot(connection):
        connection.execute(_CAREFUL.format(ending_with_client=ending_with_client(local=True)), prepare=False)
        limit_statements(connection, clock.left)
        limit_locks(connection, lock_seconds)
        yield


def _of_driver(error: psycopg.Error, look: Look) -> Outcome:
    words = one_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return skipped(words)
    if isinstance(error, errors.QueryCanceled):
        return skipped(f"it took too long: {words}")
    if isinstance(error, errors.LockNotAvailable):
        look.lock_seconds = _AT_ONCE  # whoever holds it was waited for once
        return skipped(f"somebody holds a lock on the table: {words}")
    return failed("", words, REMEDIES.get(error.sqlstate or "", "Ask the server's log what came before this."))
