"""Taking one step: a migration's statements and its row in the ledger, together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from migrate import index, records
from migrate.files import Migration, sha256
from migrate.run import MEND_DOWN, MEND_UP, Limits, clean_session, execute, execute_all, wait_for_ever
from migrate.script import read
from migrate.statements import Statement
from postgres.catalogue import Extension, extension
from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import InputError, RefusedError
from postgres.ledger import Applied, Ledger

Report = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A text to run, and how it is recorded once it has taken so many seconds."""

    id: str
    file: str
    text: str
    verb: str
    remedy: str
    record: Callable[[Connection, float], None]


def apply_step(migration: Migration) -> Step:
    """Run the up of a migration, and record it as done."""
    return Step(
        migration.id,
        migration.up_file,
        migration.up,
        "applied",
        MEND_UP,
        lambda connection, seconds: records.applied(connection, migration, seconds),
    )


def undo_step(migration: Applied) -> Step:
    """Run the down that the ledger keeps of a migration, and record it as undone."""
    return Step(
        migration.id,
        f"{migration.id}.down.sql",
        migration.down or "",
        "reverted",
        MEND_DOWN,
        lambda connection, _: records.reverted(connection, migration.id),
    )


class Runner:
    """Takes steps one after the other, under the lock that the caller holds."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger | None,
        declaration: Declaration,
        limits: Limits,
        report: Report,
    ) -> None:
        self.connection = connection
        self.declaration = declaration
        self.limits = limits
        self.report = report
        self.new = ledger is None
        self.unfinished = ledger.unfinished if ledger else {}

    def take(self, step: Step, *, last: bool = False) -> None:
        """Run a step and record it, with the contract when it is the ``last``."""
        started = time.monotonic()
        script = read(step.text)
        clean_session(self.connection, self.limits, self.declaration.schema, vector_extension(self.connection).schema)
        if script.in_transaction:
            with self.connection.transaction():
                self._create_if_new()
                execute_all(self.connection, step.file, script.statements, step.remedy)
                self._record(step, time.monotonic() - started, last=last)
        else:
            self._run_alone(step, script.statements[0])
            with self.connection.transaction():
                self._record(step, time.monotonic() - started, last=last)
        self.report(f"{step.id} {step.verb} in {time.monotonic() - started:.3f} s")

    def _create_if_new(self) -> None:
        if self.new:
            records.create(self.connection, self.declaration)
            self.new = False

    def _record(self, step: Step, seconds: float, *, last: bool) -> None:
        self.connection.execute("RESET ROLE")  # a migration may have taken another one
        step.record(self.connection, seconds)
        if last:
            records.declare(self.connection, self.declaration)

    def _run_alone(self, step: Step, statement: Statement) -> None:
        """Run the one statement of a step for which there can be no transaction.

        That it was begun is recorded first, so that after a kill it is known that what is there is ours:
        an index that was finished is not built again, and the invalid rest of one is dropped.
        """
        wait_for_ever(self.connection)  # it waits for old transactions by design, and nobody waits behind it
        with self.connection.transaction():
            self._create_if_new()
        begun = self.unfinished.get("file") == step.file
        done, left = index.is_done(self.connection, statement), index.leftover(self.connection, statement)
        if begun and done and self.unfinished["checksum"] == sha256(step.text):
            return
        if left and not begun:
            name = left.as_string(self.connection)
            raise RefusedError(
                f"{step.file}: the index {name} is invalid: its build was interrupted or goes on, and is not ours",
                f"When nobody builds it: DROP INDEX CONCURRENTLY {name}; then run the same command again.",
            )
        if left:
            self.report(f"{step.id} begins anew: dropping what an interrupted build left")
            index.clear(self.connection, left)
        if not done:
            records.begun(self.connection, step.file, sha256(step.text))
        self.report(f"{step.id} runs outside of a transaction")
        execute(self.connection, step.file, statement, step.remedy)


def vector_extension(connection: Connection) -> Extension:
    """The vector extension of this database; InputError where it is not enabled."""
    found = extension(connection)
    if found is None:
        raise InputError(
            "the extension vector is not enabled in this database",
            "Enable it, as a superuser where it must be: CREATE EXTENSION vector",
        )
    return found
