"""One step: the statements of a migration and its row in the ledger, together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.execute import Remedies, execute_all
from pgvector_seed.migrate.files import Migration, down_file, up_file
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.model import AppliedMigration, Ledger
from pgvector_seed.migrate.lock import LOCK_KEY
from pgvector_seed.migrate.reach import refuse_ledger_change
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.script import parse
from pgvector_seed.migrate.session import Limits, reset_session
from pgvector_seed.migrate.unfinished import Unfinished
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.watch import Watch

_BASELINE = (
    "The object existed before, and the ledger does not record that this migration made it. "
    f"To record it as it is: {PROGRAM} migrate baseline {{id}}. Or rename it, or use another schema."
)
UP_REMEDIES = {
    **dict.fromkeys(("42P07", "42701", "42710", "42723"), _BASELINE),
    "": "Fix the file and run the same command again: the migrations before it are recorded.",
}
_NEW_DOWN = (
    f"{PROGRAM} migrate apply, which records the new down, and applies the undone migrations again. Then undo again."
)
_DROPPED_BY_HAND = (
    f"If it was dropped by hand, make it again, and run the same command again. Or fix the file, and run: {_NEW_DOWN}"
)
DOWN_REMEDIES = {
    **dict.fromkeys(("42P01", "42703", "42704"), _DROPPED_BY_HAND),
    "": f"Fix the file, and run: {_NEW_DOWN}",
}


@dataclass(frozen=True)
class Step:
    """One up or down to run. ``record`` writes it to the ledger, with its duration in seconds."""

    id: str
    file: str
    text: str
    verb: str
    remedies: Remedies
    record: Callable[[Connection, float], None]


def apply_step(migration: Migration) -> Step:
    """Return the step that runs the up of a migration and records it as applied."""
    return Step(
        migration.id,
        up_file(migration.id),
        migration.up,
        "applied",
        UP_REMEDIES,
        lambda connection, seconds: write.record_applied(connection, migration, seconds),
    )


def undo_step(applied: AppliedMigration) -> Step:
    """Return the step that runs the recorded down of a migration and records it as undone."""
    return Step(
        applied.id,
        down_file(applied.id),
        applied.down or "",
        "undone",
        DOWN_REMEDIES,
        lambda connection, _: write.record_undone(connection, applied.id),
    )


class StepRunner:
    """Runs steps one after the other. The caller holds the migration lock."""

    def __init__(
        self, connection: Connection, ledger: Ledger | None, declaration: Declaration, limits: Limits, report: Progress
    ) -> None:
        self.connection = connection
        self.declaration = declaration
        self.limits = limits
        self.report = report
        self.ledger_is_missing = ledger is None
        self.watch = Watch(connection, report, LOCK_KEY)
        self.unfinished = Unfinished(
            connection, ledger.unfinished if ledger else {}, self._reset_session, report, self.watch
        )

    def run(self, step: Step, *, last: bool = False) -> None:
        """Run a step and record it; after the ``last``, record the declaration and the contract, too."""
        started = time.monotonic()
        script = parse(step.text)
        self._reset_session()
        if not script.in_transaction:
            with self.connection.transaction():
                self._create_missing_ledger(schema_created=self._create_missing_schema())
            self.unfinished.run(step, script.statements[0])
        with self.connection.transaction() as transaction:
            schema_created = self._create_missing_schema()
            if script.in_transaction:
                self._execute(step, script.statements)
                if transaction.savepoint_name:  # a caller's transaction keeps the locks of the steps before
                    self.connection.execute("RESET ROLE")  # the migration may have changed it
                else:
                    refuse_ledger_change(self.connection, step.file, missing=self.ledger_is_missing)
            seconds = time.monotonic() - started
            self._create_missing_ledger(schema_created=schema_created)
            with self.connection.pipeline():
                step.record(self.connection, seconds)
            if last:
                write.record_declaration(self.connection, self.declaration)
        self.report(f"{step.id} {step.verb} in {seconds:.3f} s")

    def _execute(self, step: Step, statements: list[Statement]) -> None:
        """Run the statements of a step in its transaction."""
        if self.ledger_is_missing:
            with self.connection.transaction(force_rollback=True):  # a missing privilege shows before they run
                write.create(self.connection, self.declaration, schema_created=False)
        # A deferred constraint fails here, with the file's name, and not at COMMIT.
        immediate = Statement("SET CONSTRAINTS ALL IMMEDIATE", statements[-1].line)
        execute_all(self.connection, step.file, [*statements, immediate], step.remedies, self.watch)

    def _reset_session(self) -> None:
        reset_session(self.connection, self.limits, self.declaration.schema)

    def _create_missing_schema(self) -> bool:
        return self.ledger_is_missing and write.create_missing_schema(self.connection, self.declaration)

    def _create_missing_ledger(self, *, schema_created: bool) -> None:
        if self.ledger_is_missing:
            write.create(self.connection, self.declaration, schema_created=schema_created)
            self.ledger_is_missing = False
