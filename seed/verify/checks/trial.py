"""The writer's plain write, tried by the writer in a transaction that is always rolled back: ``--try-writes``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import psycopg
from psycopg import RawCursor, errors, sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.contract import Contract
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import REMEDIES, is_connection_lost, one_line
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import query_catalog

from ..context import Context
from ..deadline import set_timeout
from ..model import Fault, Trial
from ..replica import is_standby
from .copying import NotTriedError, compose, insert_of_copy

_LOGIN = "SELECT session_user, current_user"
_VECTORS = "SELECT CAST({vector} AS pg_catalog.text) FROM {table} WHERE {vector} IS NOT NULL LIMIT 10"
_SEE = "SELECT CAST({vector} AS pg_catalog.text) FROM {table} WHERE {id} = $1"
_UPDATE = "UPDATE {table} SET {vector} = CAST($2 AS {type}) WHERE {id} = $1"
_DELETE = "DELETE FROM {table} WHERE {id} = $1"
_NUMBER = re.compile(r"-?[0-9.]+(?:e[-+]?[0-9]+)?")
_TOLERANCE = 1e-3  # relative: a trigger may normalize a vector again


def require_writer(connection: Connection, contract: Contract) -> None:
    """Raise RefusedError on a standby, and unless the login is the writer: a trigger has the rights of the login."""
    if is_standby(connection):
        raise RefusedError("--try-writes needs the primary, and this server is a standby", REMEDIES["25006"])
    writer = contract.roles.writer
    if writer is None:
        raise RefusedError("--try-writes needs a contract that declares a writer", "Leave out --try-writes.")
    logins = set(query_catalog(connection, _LOGIN)[0])
    if logins != {writer}:
        words = f"--try-writes needs the login of the writer, {writer}, and this one is {' as '.join(sorted(logins))}"
        raise RefusedError(words, "Connect as the writer: a trigger would run with the rights of this login.")


def try_writes(context: Context, writer: str) -> Trial:
    """Insert, see, change and delete a copy of a row, and roll back. Call it outside of a transaction."""
    connection = context.connection
    faults: list[Fault] = []
    try:
        writing = _Writing(context, writer)
        with connection.transaction(force_rollback=True):
            set_timeout(connection, "statement_timeout", context.deadline.seconds_left)
            set_timeout(connection, "lock_timeout", context.lock_seconds)
            connection.execute(ending_with_client(local=True))
            faults += writing.faults()
    except NotTriedError as error:
        return Trial(reason=str(error))
    except psycopg.Error as error:
        if connection.closed or is_connection_lost(error):
            raise
        unsure = errors.QueryCanceled | errors.LockNotAvailable | errors.ReadOnlySqlTransaction | psycopg.IntegrityError
        if isinstance(error, unsure):
            return Trial(reason=_words(error))
        see = context.show_remedy("rules, triggers and policies")
        return Trial([Fault(f"a write of {writer} fails: {_words(error)}", see)])
    return Trial(faults)


class _Writing:
    """The statements on one table."""

    def __init__(self, context: Context, writer: str) -> None:
        column, id_ = context.vector_column, context.declared.id
        if column is None or id_ is None:
            raise NotTriedError("the contract declares no id and vector that the table has")
        self.context = context
        self.connection = context.connection
        self.writer = writer
        self.compose = partial(compose, column, id_)
        self.insert = insert_of_copy(context, column, id_)

    def faults(self) -> Iterator[Fault]:
        """Yield a fault for each statement that does not do what it says."""
        see = self.context.show_remedy("rules and triggers")
        vectors = [str(text) for (text,) in self._run(self.compose(_VECTORS)).fetchall()]
        if not vectors:
            raise NotTriedError(f"{self.writer} sees no row to copy")
        ids = self._run(self.insert, vectors[0]).fetchall()
        if not ids:
            yield Fault(f"an INSERT of {self.writer} adds no row", see)
            return
        ((row_id,),) = ids
        if not self._has(row_id, vectors[0]):
            yield Fault(f"an INSERT of {self.writer} leaves no row with its id and vector", see)
            return
        other = next((vector for vector in vectors if vector != vectors[0]), vectors[0])
        self._run(self.compose(_UPDATE), row_id, other)
        if not self._has(row_id, other):
            yield Fault(f"an UPDATE of {self.writer} leaves no row with its vector", see)
        self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # runs what waits for the commit
        self._run(self.compose(_DELETE), row_id)
        if self._run(self.compose(_SEE), row_id).fetchall():
            yield Fault(f"a DELETE of {self.writer} leaves the row", see)

    def _run(self, statement: sql.Composed, *values: object) -> RawCursor[tuple[object, ...]]:
        return RawCursor(self.connection).execute(statement, values, prepare=False)

    def _has(self, row_id: object, vector: str) -> bool:
        rows = self._run(self.compose(_SEE), row_id).fetchall()
        return len(rows) == 1 and isinstance(rows[0][0], str) and _is_near(rows[0][0], vector)


def _words(error: psycopg.Error) -> str:
    """Return the message of an error without its details, which can have the values of a row."""
    return " ".join((error.diag.message_primary or one_line(error)).split())


def _is_near(actual: str, expected: str) -> bool:
    """Return True if two vectors of any type, as text, are equal but for rounding."""
    first, second = ([float(number) for number in _NUMBER.findall(text)] for text in (actual, expected))
    size = max(map(abs, second), default=0.0)
    return len(first) == len(second) and all(
        abs(one - other) <= _TOLERANCE * size for one, other in zip(first, second, strict=True)
    )
