"""The position of a standby beside its primary's, and waiting until it has caught up."""

from __future__ import annotations

import time
from typing import NamedTuple

from psycopg import errors

from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.common.text import counted, duration
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import libpq_default
from pgvector_seed.postgres.errors import one_line, translated
from pgvector_seed.postgres.interrupt import pause
from pgvector_seed.postgres.snapshot import query_catalog

from .deadline import RAISE_LIMIT, Deadline

PREFER_STANDBY = "prefer-standby"
_FOR_STANDBYS = ("standby", PREFER_STANDBY)
_POLL_SECONDS = 0.1
_IS_STANDBY = "SELECT pg_is_in_recovery()"
# latest_end_lsn is the end of the primary's WAL in its last message. A WAL receiver that has just started shows that of
# the one before, and its own start as the time at which a message was sent and received. A login without
# pg_read_all_stats sees only the process ID of the WAL receiver.
_POSITION = """
SELECT w.pid IS NOT NULL, w.pid IS NULL OR w.status IS NOT NULL,
       pg_wal_lsn_diff(CASE WHEN w.status = 'streaming' AND w.last_msg_send_time <> w.last_msg_receipt_time
                            THEN w.latest_end_lsn
                            WHEN w.pid IS NOT NULL AND w.status IS NULL THEN pg_last_wal_receive_lsn() END,
                       '0/0')::bigint,
       pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
       extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END
FROM (SELECT) AS always LEFT JOIN pg_stat_wal_receiver w ON true
"""
_RESUME = "Resume it on the standby: SELECT pg_wal_replay_resume();"
_STREAM = (
    "See the standby's log and SHOW primary_conninfo. A standby that replays an archive is checked without --replica "
    "and without PGTARGETSESSIONATTRS."
)
_CATCH_UP = f"{RAISE_LIMIT}. It may be delayed: SHOW recovery_min_apply_delay; SHOW max_standby_streaming_delay;"


class Position(NamedTuple):
    """The position of a standby in the WAL, in bytes, and its delay.

    ``primary`` is the position of the primary as the standby last heard it, or, if that is not ``is_visible`` to the
    login, the end of the WAL that the standby has received. ``message_seconds`` is the age of the primary's last
    message, ``transaction_seconds`` that of the last replayed transaction. Each is None if unknown.
    """

    has_receiver: bool
    is_visible: bool
    primary: int | None
    replayed: int | None
    message_seconds: float | None
    transaction_seconds: float | None
    is_paused: bool | None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self._behind(), self._age(), "replay is paused" if self.is_paused else "")))

    def _behind(self) -> str:
        if not self.has_receiver:
            return "no WAL receiver streams from a primary"
        if self.primary is None:
            return "its primary has not told its position yet"
        behind = counted(max(0, self.primary - (self.replayed or 0)), "byte")
        if not self.is_visible:
            return f"{behind} received and not replayed (its primary's position is for logins with pg_read_all_stats)"
        return f"{behind} behind its primary's position of {duration(max(0.0, self.message_seconds or 0))} ago"

    def _age(self) -> str:
        if self.transaction_seconds is None:
            return "no transaction replayed since its start"
        return f"the last replayed transaction is {duration(max(0.0, self.transaction_seconds))} old"


def prefers_standby() -> bool:
    """Return True if target_session_attrs in the environment or a service file asks for a standby."""
    return libpq_default("target_session_attrs") in _FOR_STANDBYS


def is_standby(connection: Connection) -> bool:
    """Return True if the server is a standby."""
    return bool(query_catalog(connection, _IS_STANDBY)[0][0])


def position_note(connection: Connection) -> str:
    """Return the position of this standby in words, or why it cannot be read; "" for a primary."""
    if not is_standby(connection):
        return ""
    try:
        return f"a standby: {_position(connection)}"
    except (errors.InsufficientPrivilege, errors.FeatureNotSupported) as error:  # Aurora has no such functions
        return f"a standby, whose position cannot be read: {one_line(error)}"


def catch_up(connection: Connection, deadline: Deadline, *, required: bool) -> None:
    """Wait until the standby has replayed up to the first position of its primary that it knows during this call.

    Returns at once on a primary, unless a standby is ``required``. Raises UnreachableError if it is, or if the standby
    has not caught up at the deadline.
    """
    target = None
    with translated("reading the standby's position"):
        while is_standby(connection):
            position = _position(connection)
            target = position.primary if target is None else target
            if target is not None and (position.replayed or 0) >= target:
                return
            if time.monotonic() + _POLL_SECONDS > deadline.end:
                words = f"the standby did not catch up in {deadline.limit:g} s: {position}"
                raise UnreachableError(words, _remedy(position))
            pause(_POLL_SECONDS)
    if required:
        info = connection.info
        words = f"--replica needs a standby, and {info.host}:{info.port} is a primary"
        raise UnreachableError(words, "Set PGHOST and PGPORT to the standby, or leave out --replica.")


def _position(connection: Connection) -> Position:
    return Position(*query_catalog(connection, _POSITION)[0])


def _remedy(position: Position) -> str:
    if not position.has_receiver:
        return _STREAM
    return _RESUME if position.is_paused else _CATCH_UP
