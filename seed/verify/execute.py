"""Run one check in a read-only transaction; an exception becomes its outcome."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors, sql

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line, remedy_of_lost
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.reader import CannotImpersonateError, ReaderRefusedError

from .context import Context, NotAllowedError
from .damage import find_damage
from .deadline import Deadline, OutOfTimeError, milliseconds
from .model import Check, Outcome, failed, skipped

# The timeouts of the login would end the check, or the session. A table that was replaced by a view after its check is
# not read. Not every version has these settings.
_RESTRICT = sql.SQL("""
SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {lock_milliseconds};
SELECT pg_catalog.set_config(name, CASE WHEN name ~ 'timeout' THEN '0' ELSE 'view, foreign-table' END, true)
FROM pg_catalog.pg_settings
WHERE name IN ('transaction_timeout', 'idle_in_transaction_session_timeout', 'restrict_nonsystem_relation_kind');
{ending_with_client}
""")
_NO_WAIT_SECONDS = 0.001


def execute(check: Check, context: Context, names: Collection[str]) -> Outcome:
    """Return the outcome of a check. Raises UnreachableError if the connection is lost.

    If the server names a damaged relation that another check of ``names`` is about, the outcome is a skip, and
    ``context.damage`` has the failure of that check.
    """
    try:
        if check.prepare is not None:
            check.prepare(context)
        with check_transaction(context.connection, context.deadline, context.lock_seconds):
            return check.run(context)
    except (NotAllowedError, OutOfTimeError, CannotImpersonateError) as error:
        return skipped(str(error))
    except ReaderRefusedError as error:
        return failed("answers for the reader", str(error), "Grant the reader the privilege that the message names.")
    except psycopg.Error as error:
        return _outcome_of_error(error, check, context, names)
    except Error as error:
        return failed("", error.message, error.remedy)
    except Exception as error:  # noqa: BLE001  # one broken check must not hide the others
        return failed("", f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")


@contextmanager
def check_transaction(connection: Connection, deadline: Deadline, lock_seconds: float) -> Iterator[None]:
    """Open a catalog_snapshot in which a statement ends at the deadline, and waits for a lock ``lock_seconds``."""
    with catalog_snapshot(connection):
        begin = _RESTRICT.format(
            ending_with_client=ending_with_client(local=True),
            milliseconds=milliseconds(deadline.seconds_left),
            lock_milliseconds=milliseconds(lock_seconds),
        )
        connection.execute(begin, prepare=False)
        yield


def _outcome_of_error(error: psycopg.Error, check: Check, context: Context, names: Collection[str]) -> Outcome:
    words = one_line(error)
    if context.connection.closed or is_connection_lost(error):
        raise UnreachableError(f"the connection was lost: {words}", remedy_of_lost(error)) from error
    if isinstance(error, errors.InsufficientPrivilege):
        return skipped(words)
    if isinstance(error, errors.QueryCanceled):
        return skipped(f"the check took too long: {words}")
    if isinstance(error, errors.LockNotAvailable):
        context.lock_seconds = _NO_WAIT_SECONDS  # one check has waited for this table
        return skipped(f"another session holds a lock on the table: {words}")
    if isinstance(error, errors.SerializationFailure):
        return skipped(f"replay on this standby ended the check: {words}. {REMEDIES['40001']}")
    damage = find_damage(error, context)
    if damage is None:
        return failed("", words, REMEDIES.get(error.sqlstate or "", "See the server's log for the cause."))
    if damage.check == check.name or damage.check not in names:
        return damage.outcome
    context.damage.setdefault(damage.check, damage.outcome)
    return skipped(f"after {damage.check}, which failed")
