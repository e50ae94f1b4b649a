"""One step: the statements of a migration and its row in the ledger, together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from migrate import concurrently, records
from migrate.execute import execute_all, execute_alone
from migrate.files import Migration, down_file, sha256, up_file
from migrate.lock import Report
from migrate.script import parse
from migrate.session import Limits, clean_session, lift_limits
from migrate.statements import Statement
from postgres.catalogue import require_extension
from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import RefusedError
from postgres.ledger import Applied, Ledger

MEND_UP = "Mend the file and run the same command again: what came before it is recorded."
MEND_DOWN = "Mend the file, apply once more, which records the new down, and then undo again."


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
    """Run the up of a migration, and record it as applied."""
    return Step(
        migration.id,
        up_file(migration.id),
        migration.up,
        "applied",
        MEND_UP,
        lambda connection, seconds: records.applied(connection, migration, seconds),
    )


def undo_step(applied: Applied) -> Step:
    """Run the down that the ledger keeps of a migration, and record it as undone."""
    return Step(
        applied.id,
        down_file(applied.id),
        applied.down or "",
        "undone",
        MEND_DOWN,
        lambda connection, _: records.undone(connection, applied.id),
    )


class Steps:
    """Takes steps one after the other, under the lock that the caller holds."""

    def __init__(
        self, connection: Connection, ledger: Ledger | None, declaration: Declaration, limits: Limits, report: Report
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
        script = parse(step.text)
        # Asked for each time: a migration may move the extension.
        extension_schema = require_extension(self.connection).schema
        clean_session(self.connection, self.limits, self.declaration.schema, extension_schema)
        if not script.in_transaction:
            self._run_alone(step, script.statements[0])
        with self.connection.transaction():
            self._create_if_new()
            if script.in_transaction:
                execute_all(self.connection, step.file, script.statements, step.remedy)
            self.connection.execute("RESET ROLE")  # the migration may have taken another one
            seconds = time.monotonic() - started
            step.record(self.connection, seconds)
            if last:
                records.declare(self.connection, self.declaration)
        self.report(f"{step.id} {step.verb} in {seconds:.3f} s")

    def _create_if_new(self) -> None:
        if self.new:
            records.create(self.connection, self.declaration)
            self.new = False

    def _run_alone(self, step: Step, statement: Statement) -> None:
        """Run the one statement of a step for which there can be no transaction.

        That it was begun is recorded first. So after a kill it is known that what is there is ours: an
        index that the server finished is not built again, and the invalid rest of one is dropped.
        """
        lift_limits(self.connection)  # it waits for old transactions by design, and nobody waits behind it
        with self.connection.transaction():
            self._create_if_new()
        begun = self.unfinished.get("file") == step.file
        found = concurrently.look(self.connection, statement)
        if begun and found.done and self.unfinished["checksum"] == sha256(step.text):
            return
        if found.leftover:
            self._clear(step, found.leftover.as_string(self.connection), begun=begun)
            concurrently.clear(self.connection, found.leftover)
        if not found.done:
            records.begun(self.connection, step.file, sha256(step.text))
        self.report(f"{step.id} runs outside of a transaction")
        execute_alone(self.connection, step.file, statement, step.remedy)

    def _clear(self, step: Step, name: str, *, begun: bool) -> None:
        """Say that a leftover is dropped; refuse where it is not ours."""
        if not begun:
            raise RefusedError(
                f"{step.file}: the index {name} is invalid: its build was interrupted or goes on, and is not ours",
                f"When nobody builds it: DROP INDEX CONCURRENTLY {name}; then run the same command again.",
            )
        self.report(f"{step.id} begins anew: dropping what an interrupted build left")
