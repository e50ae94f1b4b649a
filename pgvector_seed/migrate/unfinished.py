"""Statements that run outside of a transaction: recorded as begun first, and completed after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import MigrationError, RefusedError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.execute import execute_alone
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.script import parse, refuse_faults
from pgvector_seed.migrate.session import lift_limits

if TYPE_CHECKING:
    from pgvector_seed.migrate.scanner import Statement
    from pgvector_seed.migrate.step import Step
    from pgvector_seed.postgres.connection import Connection
    from pgvector_seed.postgres.sessions import Progress
    from pgvector_seed.postgres.watch import Watch


class Unfinished:
    """The statement that the ledger records as begun, if there is one. The caller holds the migration lock.

    ``record`` is ``Ledger.unfinished``: ``file``, ``text`` and ``index``, the oid of an index that a failed build left.
    """

    def __init__(
        self,
        connection: Connection,
        record: Mapping[str, str],
        reset_session: Callable[[], None],
        report: Progress,
        watch: Watch,
    ) -> None:
        self.connection = connection
        self.record = dict(record)
        self.reset_session = reset_session
        self.report = report
        self.watch = watch

    def run(self, step: Step, statement: Statement) -> None:
        """Run the statement of a no-transaction step, unless an interrupted run has completed it.

        The statement is first recorded as begun, so that after a kill an index of its name is known to be ours.
        """
        if self._is_begun(step):
            _, index = self._drop_leftover()
            if concurrently.is_done(statement, index) and (index is None or self._is_ours(index)):
                return
        index = concurrently.find_index(self.connection, statement)
        self._refuse_invalid(step, statement, index)
        if not concurrently.is_done(statement, index):
            self.record = {"file": step.file, "text": step.text}
            write.record_begun(self.connection, self.record)
        self.report(f"{step.id} runs outside of a transaction")
        self._execute_begun(step, statement)

    def settle(self, following: Step | None) -> None:
        """Give up an interrupted statement: drop the invalid index that its build left, and clear its record.

        Does nothing if the ``following`` step is the one of that statement, which ``run`` then completes.

        Raises RefusedError if the statement had built its index, or had begun to drop it: only the user can decide
        whether to complete the migration or to reverse it.
        """
        if not self.record or (following and self._is_begun(following)):
            return
        statement, index = self._drop_leftover()
        if concurrently.dropped_index(statement) and (index is None or not index.valid):
            raise RefusedError(
                f"{self.record['file']} was interrupted while it dropped an index, which is missing or invalid, "
                "and this is not recorded",
                f"Run the interrupted command again, such as {PROGRAM} migrate down --to ID. Or drop the index if it "
                "is invalid, and build it again: the ledger still has it.",
            )
        if concurrently.built_index(statement) and index and self._is_ours(index):
            name = index.name.as_string(self.connection)
            raise RefusedError(
                f"{self.record['file']} was interrupted after it had built {name}, which is not recorded",
                f"Restore its text and apply, which records it; or: DROP INDEX CONCURRENTLY {name}",
            )
        self._forget()

    def unrecorded(self) -> str | None:
        """Drop the invalid index that was left. Returns the file that took effect but is not recorded, or None."""
        if not self.record:
            return None
        statement, index = self._drop_leftover()
        if concurrently.dropped_index(statement) and index and not index.valid:
            concurrently.drop_invalid(self.connection, index)
            index = None
        done = index is None if concurrently.dropped_index(statement) else index is not None
        return self.record["file"] if done and concurrently.builds_or_drops(statement) else None

    def _drop_leftover(self) -> tuple[Statement, concurrently.IndexState | None]:
        """Drop an invalid index that our build left. Returns the statement that was begun, and its index or None."""
        file, text = self.record["file"], self.record["text"]
        refuse_faults([(file, text)])  # the ledger may have been edited by hand
        self.reset_session()
        statement = parse(text).statements[0]
        index = concurrently.find_index(self.connection, statement)
        if concurrently.built_index(statement) and index and not index.valid and self._is_ours(index):
            self.report(f"{file} was interrupted: dropping the invalid index that it left")
            with self.watch.running(f"{file}: dropping the invalid index"):
                concurrently.drop_invalid(self.connection, index)
            return statement, None
        return statement, index

    def _is_ours(self, index: concurrently.IndexState) -> bool:
        return self.record.get("index", index.oid) == index.oid

    def _is_begun(self, step: Step) -> bool:
        return (self.record.get("file"), self.record.get("text")) == (step.file, step.text)

    def _forget(self) -> None:
        write.clear_begun(self.connection)
        self.record = {}

    def _execute_begun(self, step: Step, statement: Statement) -> None:
        """Run a statement. If it fails, record the oid of the invalid index that it left, or clear the record."""
        if concurrently.builds_or_drops(statement):
            lift_limits(self.connection)  # it waits for old transactions, and no other session waits behind it
        try:
            execute_alone(self.connection, step.file, statement, step.remedies, self.watch)
        except MigrationError:
            index = concurrently.find_index(self.connection, statement)
            if self.record and index and not index.valid:
                write.record_begun(self.connection, {**self.record, "index": index.oid})
            elif self.record:
                self._forget()
            raise
        self._refuse_invalid(step, statement, concurrently.find_index(self.connection, statement))

    def _refuse_invalid(self, step: Step, statement: Statement, index: concurrently.IndexState | None) -> None:
        """Raise RefusedError if another session left the index invalid: IF NOT EXISTS would accept it as it is."""
        if concurrently.built_index(statement) and index and not index.valid:
            name = index.name.as_string(self.connection)
            raise RefusedError(
                f"{step.file}: the index {name} is invalid: another session is building it, or was interrupted",
                f"If no session is building it: DROP INDEX CONCURRENTLY {name}; then run the same command again.",
            )
