"""One step: the statements of a migration and its row in the ledger, together or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.execute import execute_all, execute_alone
from pgvector_seed.migrate.files import Migration, down_file, up_file
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.model import Applied, Ledger
from pgvector_seed.migrate.lock import Progress
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.script import parse
from pgvector_seed.migrate.session import Limits, clean_session
from pgvector_seed.migrate.unfinished import Unfinished
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.extension import require_extension

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
        lambda connection, seconds: write.applied(connection, migration, seconds),
    )


def undo_step(applied: Applied) -> Step:
    """Run the down that the ledger keeps of a migration, and record it as undone."""
    return Step(
        applied.id,
        down_file(applied.id),
        applied.down or "",
        "undone",
        MEND_DOWN,
        lambda connection, _: write.undone(connection, applied.id),
    )


class StepRunner:
    """Takes steps one after the other, under the lock that the caller holds."""

    def __init__(
        self, connection: Connection, ledger: Ledger | None, declaration: Declaration, limits: Limits, report: Progress
    ) -> None:
        self.connection = connection
        self.declaration = declaration
        self.limits = limits
        self.report = report
        self.new = ledger is None
        self.unfinished = Unfinished(connection, ledger.unfinished if ledger else {}, self._clean_session, report)

    def take(self, step: Step, *, last: bool = False) -> None:
        """Run a step and record it, with the contract when it is the ``last``."""
        started = time.monotonic()
        script = parse(step.text)
        self._clean_session()
        if not script.in_transaction:
            with self.connection.transaction():
                self._create_if_new()
            self.unfinished.run(step, script.statements[0])
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
                write.declare(self.connection, self.declaration)
        self.report(f"{step.id} {step.verb} in {seconds:.3f} s")

    def _clean_session(self) -> None:
        # Asked for each time: a migration may move the extension.
        extension_schema = require_extension(self.connection).schema
        clean_session(self.connection, self.limits, self.declaration.schema, extension_schema)

    def _create_if_new(self) -> None:
        if self.new:
            write.create(self.connection, self.declaration)
            self.new = False
