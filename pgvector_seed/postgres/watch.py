"""The server's messages while a statement runs, and the progress of a slow statement.

A thread asks for the progress over a second connection, which is opened for a statement that takes longer than
QUIET_SECONDS. The thread never fails a statement: without that connection it only says that the statement runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import Diagnostic

from pgvector_seed.common.errors import Error
from pgvector_seed.common.text import duration, printable
from pgvector_seed.postgres.advisory import HOLDERS_PID
from pgvector_seed.postgres.connection import Connection, connect, conninfo_of_server
from pgvector_seed.postgres.sessions import SESSION, Progress, describe_session

QUIET_SECONDS = 3.0
EVERY_SECONDS = 5.0  # or a tenth of the statement's time, if that is more: 60 lines in an hour
CLOSING_SECONDS = 1.0
MESSAGES = 20  # of a statement; the others are counted

# As the login: the role of the session, which has no login, may not see what the login runs.
_PREPARE = "SET ROLE NONE; SET search_path TO pg_catalog, pg_temp; SET statement_timeout TO '5s'"
# One statement: an open transaction would block an index that is built concurrently.
_STATE = sql.SQL("""
SELECT ours.wait_event_type = 'Lock', p.phase,
       CASE WHEN p.tuples_total > 0 AND p.blocks_done >= p.blocks_total THEN 100 * p.tuples_done / p.tuples_total
            WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total END,
       {session}
FROM pg_stat_activity ours
LEFT JOIN pg_stat_progress_create_index p ON p.pid = ours.pid
LEFT JOIN pg_stat_activity a
  ON ours.wait_event_type = 'Lock' AND a.pid = coalesce((pg_blocking_pids(ours.pid))[1], p.current_locker_pid)
WHERE ours.pid = ({pid})
""").format(session=SESSION, pid=HOLDERS_PID)


class _Pace:
    """The progress of a phase since it was first seen."""

    def __init__(self) -> None:
        self.phase: str | None = None
        self.start = (0.0, 0.0)

    def time_left(self, phase: str | None, percent: float, seconds: float) -> float | None:
        """Return the seconds until this phase ends, after ``seconds`` of the statement; None at its first per cent."""
        if phase != self.phase:
            self.phase, self.start = phase, (percent, seconds)
        done = percent - self.start[0]
        return (100 - percent) * (seconds - self.start[1]) / done if done > 0 else None


@dataclass(frozen=True)
class _Running:
    """The statement that runs, and the time of its start."""

    place: str
    since: float
    pace: _Pace = field(default_factory=_Pace)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since


class Watch:
    """Reports messages and progress of the statements of a session.

    The session holds the advisory lock ``key``, by which its server process is known: behind a proxy, the connection
    has another process id. ``explain`` returns a line to add to a message of the server, or None.
    """

    def __init__(
        self,
        connection: Connection,
        report: Progress,
        key: int,
        explain: Callable[[str], str | None] = lambda _message: None,
    ) -> None:
        self.connection = connection
        self.key = key
        self.explain = explain
        self.report = report
        self._statement: _Running | None = None
        self._messages: deque[str] = deque()
        self._count = 0
        self._ended = Event()
        self._thread: Thread | None = None
        self._lock = Lock()  # held to change _statement and _thread
        self._reporting = Lock()

    @contextmanager
    def running(self, place: str) -> Iterator[None]:
        """Report on the statement at ``place``, a file and a line, while the block executes it."""
        statement = _Running(place, time.monotonic())
        with self._lock:
            self._statement, self._count = statement, 0
            if self._thread is None:
                self._ended = Event()
                thread = Thread(target=self._follow, args=(self._ended,), daemon=True)
                with suppress(RuntimeError):  # there may be too many processes
                    thread.start()
                    self._thread = thread
        self.connection.add_notice_handler(self._keep)
        try:
            yield
        finally:
            self.connection.remove_notice_handler(self._keep)  # the caller may keep the connection
            self._end(statement)

    def _end(self, statement: _Running) -> None:
        with self._lock:
            self._statement = None
            follower = self._thread if statement.seconds >= QUIET_SECONDS else None
            if follower:
                self._thread = None
                self._ended.set()  # first: an interrupt may end the report
        if self._count > MESSAGES:
            self._messages.append(f"{statement.place}: {self._count - MESSAGES} more messages")
        reporting = self._reporting.acquire(timeout=CLOSING_SECONDS)  # the thread's report may wait for this thread
        try:
            with suppress(Exception):  # the statement's own result counts
                self._report_messages()
        finally:
            if reporting:
                self._reporting.release()
        if follower:
            follower.join(CLOSING_SECONDS)  # an open connection may be in the way of the next command

    def _keep(self, message: Diagnostic) -> None:
        """Keep a message, to be reported outside of the driver's callback, in which an interrupt would be lost."""
        statement = self._statement
        if statement:
            self._count += 1
            if self._count <= MESSAGES:
                self._messages.extend(_lines(statement.place, message, self.explain(message.message_primary or "")))

    def _report_messages(self) -> None:
        while self._messages:
            self.report(self._messages.popleft())

    def _follow(self, ended: Event) -> None:
        """Report on the first slow statement until it ends. Returns without one if no statement runs."""
        with suppress(Exception), ExitStack() as stack:
            statement = self._slow_statement(ended)
            if statement:
                session = _open(self.connection, stack)
                while not ended.is_set():
                    self._tell(statement, _line(statement, _state(session, self.key)))
                    ended.wait(max(EVERY_SECONDS, statement.seconds / 10))

    def _slow_statement(self, ended: Event) -> _Running | None:
        wait = QUIET_SECONDS
        while not ended.wait(wait):
            with self._lock:
                statement = self._statement
                if statement is None:
                    self._thread = None
                    return None
                wait = QUIET_SECONDS - statement.seconds  # under the lock: ``_end`` then finds it slow, too
            if wait <= 0:
                return statement
        return None

    def _tell(self, statement: _Running, line: str) -> None:
        with self._reporting:
            if self._statement is statement:
                self._report_messages()
                self.report(line)


def _open(connection: Connection, stack: ExitStack) -> Connection | None:
    """Return a second connection to the server of ``connection``, closed by ``stack``, or None if there is none."""
    try:
        session = stack.enter_context(connect(conninfo_of_server(connection)))
        session.execute(_PREPARE)
    except (psycopg.Error, Error):
        return None
    return session


def _state(session: Connection | None, key: int) -> tuple[Any, ...] | None:
    """Return the row of _STATE, or None if it cannot be read."""
    with suppress(psycopg.Error):
        return session.execute(_STATE, (key,)).fetchone() if session else None
    return None


def _line(statement: _Running, state: tuple[Any, ...] | None) -> str:
    waiting, phase, percent, *session = state or (False, None, None)
    does, left = phase or "still running", None
    if percent is not None:
        does += f", {percent} %"
        left = statement.pace.time_left(phase, float(percent), statement.seconds)
    if waiting:
        does = f"waiting for a lock of {describe_session(session)}"
    time_left = f", about {duration(left)} left" if left is not None else ""
    return f"{statement.place}: {does} ({statement.seconds:.0f} s{time_left})"


def _lines(place: str, message: Diagnostic, explanation: str | None) -> Iterator[str]:
    """Yield a message of the server in lines that are safe to print."""
    severity = message.severity_nonlocalized or message.severity
    parts = [(f"{place}: {severity}", message.message_primary)]
    parts += [("  detail", message.message_detail), ("  hint", message.message_hint), ("  remedy", explanation)]
    for label, text in parts:
        if text:
            yield printable(f"{label}: {' '.join(text.split())}")
