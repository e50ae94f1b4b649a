"""One step: the statements of a migration and its row in the ledger, together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from migrate import concurrently, records
from migrate.execute import execute_all, execute_alone
from migrate.files import Migration, down_file, up_file
from migrate.lock import Report
from migrate.script import parse, refuse_faults
from migrate.session import Limits, clean_session, lift_limits
from migrate.statements import Statement
from postgres.catalogue import require_extension
from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import MigrationError, RefusedError
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
        self._clean_session()
        if not script.in_transaction:
            self._run_alone(step, script.statements[0])
        with self.connection.transaction():
            self._create_if_new()
            if script.in_transaction:
                execute_all(self.connection, step.file, script.statements, step.remedy)
                # What waits for the end of the transaction fails here, where the file is known.
                waiting = Statement("SET CONSTRAINTS ALL IMMEDIATE", script.statements[-1].line)
                execute_alone(self.connection, step.file, waiting, step.remedy)
            self.connection.execute("RESET ROLE")  # the migration may have taken another one
            seconds = time.monotonic() - started
            step.record(self.connection, seconds)
            if last:
                records.declare(self.connection, self.declaration)
        self.report(f"{step.id} {step.verb} in {seconds:.3f} s")

    def settle(self, following: Step | None) -> None:
        """Make an end of what an earlier run began outside of a transaction and did not record.

        The invalid rest of our build is dropped. What was finished waits for its record, which the
        ``following`` step is when it is the same.

        Raises RefusedError where it is another: then nobody but the user can say what is meant.
        """
        if not self.unfinished or (following and self._is_begun(following)):
            return
        statement, found = self._drop_leftover()
        if concurrently.dropped(statement) and (found is None or not found.valid):
            raise RefusedError(
                f"{self.unfinished['file']} was interrupted while it dropped an index, which is gone or invalid, "
                "and that is not recorded",
                "Go on with the command that was interrupted, such as python -m migrate down --to ID; or drop the "
                "index where it is invalid, and build it again, for the ledger still has it.",
            )
        if concurrently.built(statement) and found and self._is_ours(found):
            name = found.name.as_string(self.connection)
            raise RefusedError(
                f"{self.unfinished['file']} was interrupted after it had built {name}, which is not recorded",
                f"Put its text back as it was and apply, which records it; or: DROP INDEX CONCURRENTLY {name}",
            )
        self._forget()

    def unrecorded(self) -> str:
        """The file whose index is built, or dropped, without its record; "" when there is none.

        What is invalid is dropped: it is the rest of a build, or of a drop.
        """
        if not self.unfinished:
            return ""
        statement, found = self._drop_leftover()
        if concurrently.dropped(statement) and found and not found.valid:
            concurrently.clear(self.connection, found)
            found = None
        done = found is None if concurrently.dropped(statement) else found is not None
        return self.unfinished["file"] if done and not concurrently.is_other(statement) else ""

    def _drop_leftover(self) -> tuple[Statement, concurrently.Found | None]:
        """The statement that was begun, and its index as it is after our invalid one was dropped."""
        file, text = self.unfinished["file"], self.unfinished["text"]
        refuse_faults([(file, text)])  # the ledger may have been edited by hand
        self._clean_session()
        statement = parse(text).statements[0]
        found = concurrently.look(self.connection, statement)
        if concurrently.built(statement) and found and not found.valid and self._is_ours(found):
            self.report(f"{file} was interrupted: dropping the index that it left unfinished")
            concurrently.clear(self.connection, found)
            return statement, None
        return statement, found

    def _is_ours(self, found: concurrently.Found) -> bool:
        return self.unfinished.get("index", found.oid) == found.oid

    def _is_begun(self, step: Step) -> bool:
        return (self.unfinished.get("file"), self.unfinished.get("text")) == (step.file, step.text)

    def _forget(self) -> None:
        records.nothing_begun(self.connection)
        self.unfinished = {}

    def _clean_session(self) -> None:
        # Asked for each time: a migration may move the extension.
        extension_schema = require_extension(self.connection).schema
        clean_session(self.connection, self.limits, self.declaration.schema, extension_schema)

    def _create_if_new(self) -> None:
        if self.new:
            records.create(self.connection, self.declaration)
            self.new = False

    def _run_alone(self, step: Step, statement: Statement) -> None:
        """Run the one statement of a step for which there can be no transaction.

        That it was begun is recorded first. So after a kill it is known that what is there is ours, and
        an index that the server finished is not built again.
        """
        with self.connection.transaction():
            self._create_if_new()
        if self._is_begun(step):
            _, found = self._drop_leftover()
            if concurrently.is_done(statement, found) and (found is None or self._is_ours(found)):
                return
        found = concurrently.look(self.connection, statement)
        self._refuse_invalid(step, statement, found)
        if not concurrently.is_done(statement, found):
            self.unfinished = {"file": step.file, "text": step.text}
            records.begun(self.connection, self.unfinished)
        self.report(f"{step.id} runs outside of a transaction")
        self._execute_begun(step, statement)

    def _execute_begun(self, step: Step, statement: Statement) -> None:
        """Run it; where the server refuses it, remember which index it left, or that it left none."""
        if not concurrently.is_other(statement):
            lift_limits(self.connection)  # it waits for old transactions by design, and nobody waits behind it
        try:
            execute_alone(self.connection, step.file, statement, step.remedy)
        except MigrationError:
            found = concurrently.look(self.connection, statement)
            if self.unfinished and found and not found.valid:
                records.begun(self.connection, {**self.unfinished, "index": found.oid})
            elif self.unfinished:
                self._forget()
            raise
        self._refuse_invalid(step, statement, concurrently.look(self.connection, statement))

    def _refuse_invalid(self, step: Step, statement: Statement, found: concurrently.Found | None) -> None:
        """Ours is dropped by now. CREATE INDEX IF NOT EXISTS would take another's for an index."""
        if concurrently.built(statement) and found and not found.valid:
            name = found.name.as_string(self.connection)
            raise RefusedError(
                f"{step.file}: the index {name} is invalid: its build was interrupted or goes on, and is not ours",
                f"When nobody builds it: DROP INDEX CONCURRENTLY {name}; then run the same command again.",
            )
