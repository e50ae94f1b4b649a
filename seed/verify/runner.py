"""Run the checks in their order, each in its own read-only transaction."""

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
from .context import Context, NotAllowedError
from .deadline import Deadline, OutOfTimeError, set_timeout
from .model import Check, Outcome, Result, Status, failed, not_declared, skipped

# A table that was replaced by a view after its check is not read. Not every minor version has the setting.
_RESTRICT = sql.SQL("""
SELECT pg_catalog.set_config(name, 'view, foreign-table', true) FROM pg_catalog.pg_settings
WHERE name = 'restrict_nonsystem_relation_kind';
{ending_with_client}
""")
_NO_WAIT_SECONDS = 0.001


def run_checks(
    connection: Connection, contract: Contract, names: Collection[str], deadline: Deadline
) -> tuple[list[Result], UnreachableError | None]:
    """Return the results of the named checks, and the error that ended the run early, or None.

    Raises InputError if the contract has a table's name that is not valid in SQL.
    """
    database = Context(connection, contract, deadline)
    with translated("looking for the tables"):
        named = [(parse_name(connection, table.name), table) for table in contract.tables or ()]
    tables = [Context(connection, contract, deadline, name, table) for name, table in named]
    outcomes: dict[tuple[str, int], Outcome] = {}  # by check and number of the table
    results: list[Result] = []
    error: UnreachableError | None = None
    for check in _with_prerequisites(names):
        for number, context in enumerate((tables or [database]) if check.per_table else [database]):
            start = time.monotonic()
            error = error or deadline.expiry_error
            try:
                outcome = skipped(error.message) if error else _outcome(check, context, number, outcomes)
            except UnreachableError as lost:
                error = lost
                outcome = skipped(error.message)
            outcomes[check.name, number] = outcome
            results.append(_result(check, context, outcome, time.monotonic() - start))
    return [result for result in results if result.name in names], error


def _result(check: Check, context: Context, outcome: Outcome, seconds: float) -> Result:
    table = context.declared_table
    if table is None:
        return Result(check.name, None, outcome, seconds)
    columns = [other.vector for other in context.contract.tables or () if other.name == table.name]
    return Result(check.name, table.name, outcome, seconds, table.vector, has_siblings=len(columns) > 1)


def _with_prerequisites(names: Collection[str]) -> list[Check]:
    """Return the named checks and, before each, the checks that it depends on."""
    needed = {"connect", *names}
    for check in reversed(CHECKS.values()):
        if check.name in needed:
            needed.update(check.after)
    return [check for check in CHECKS.values() if check.name in needed]


def _outcome(check: Check, context: Context, number: int, outcomes: dict[tuple[str, int], Outcome]) -> Outcome:
    if check.per_table and context.declared_table is None:
        return not_declared("a table")
    for name in () if check.name == "connect" else ("connect", *check.after):
        prior = outcomes[name, number if CHECKS[name].per_table else 0]
        if prior.status is Status.FAIL and (prior.blocks is None or check.name in prior.blocks):
            return skipped(f"after {name}, which failed")
    return _run(check, context)


def _run(check: Check, context: Context) -> Outcome:
    """Run a check; an exception becomes its outcome. Raises UnreachableError if the connection is lost."""
    try:
        with check_transaction(context.connection, context.deadline, context.lock_seconds):
            return check.run(context)
    except (NotAllowedError, OutOfTimeError, CannotImpersonateError) as error:
        return skipped(str(error))
    except ReaderRefusedError as error:
        return failed("answers for the reader", str(error), "Grant the reader the privilege that the message names.")
    except psycopg.Error as error:
        if context.connection.closed or is_connection_lost(error):
            words = f"the connection was lost: {one_line(error)}"
            raise UnreachableError(words, "Run the same command again.") from error
        return _outcome_of_error(error, context)
    except Error as error:
        return failed("", error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  # one broken check must not hide the others
        return failed("", f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


@contextmanager
def check_transaction(connection: Connection, deadline: Deadline, lock_seconds: float) -> Iterator[None]:
    """Open a catalog_snapshot in which a statement ends at the deadline, and waits for a lock ``lock_seconds``."""
    with catalog_snapshot(connection):
        connection.execute(_RESTRICT.format(ending_with_client=ending_with_client(local=True)), prepare=False)
        set_timeout(connection, "statement_timeout", deadline.seconds_left)
        set_timeout(connection, "lock_timeout", lock_seconds)
        yield


def _outcome_of_error(error: psycopg.Error, context: Context) -> Outcome:
    words = one_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return skipped(words)
    if isinstance(error, errors.QueryCanceled):
        return skipped(f"the check took too long: {words}")
    if isinstance(error, errors.LockNotAvailable):
        context.lock_seconds = _NO_WAIT_SECONDS  # one check has waited for this table
        return skipped(f"another session holds a lock on the table: {words}")
    return failed("", words, REMEDIES.get(error.sqlstate or "", "See the server's log for the cause."))
