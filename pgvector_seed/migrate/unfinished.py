"""Statements that run in no transaction: begun, recorded as begun, and gone on with after an interruption."""

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
    from pgvector_seed.migrate.lock import Progress
    from pgvector_seed.migrate.scanner import Statement
    from pgvector_seed.migrate.step import Step
    from pgvector_seed.postgres.connection import Connection


class Unfinished:
    """The statement that the ledger has as begun and not as done, if there is one.

    ``record`` has its ``file`` and ``text``, and the oid of the ``index`` that a failed build left; it is empty if
    nothing was begun. The caller holds the lock.
    """

    def __init__(
        self, connection: Connection, record: Mapping[str, str], clean_session: Callable[[], None], report: Progress
    ) -> None:
        self.connection = connection
        self.record = dict(record)
        self.clean_session = clean_session
        self.report = report

    def run(self, step: Step, statement: Statement) -> None:
        """Run the one statement of a step for which there can be no transaction.

        That it was begun is recorded first. So after a kill it is known that what is there is ours, and
        an index that the server finished is not built again.
        """
        if self._is_begun(step):
            _, found = self._drop_leftover()
            if concurrently.is_done(statement, found) and (found is None or self._is_ours(found)):
                return
        found = concurrently.look(self.connection, statement)
        self._refuse_invalid(step, statement, found)
        if not concurrently.is_done(statement, found):
            self.record = {"file": step.file, "text": step.text}
            write.begun(self.connection, self.record)
        self.report(f"{step.id} runs outside of a transaction")
        self._execute_begun(step, statement)

    def settle(self, following: Step | None) -> None:
        """Make an end of what an earlier run began outside of a transaction and did not record.

        The invalid rest of our build is dropped. What was finished waits for its record, which the
        ``following`` step is when it is the same.

        Raises RefusedError where it is another: then nobody but the user can say what is meant.
        """
        if not self.record or (following and self._is_begun(following)):
            return
        statement, found = self._drop_leftover()
        if concurrently.dropped(statement) and (found is None or not found.valid):
            raise RefusedError(
                f"{self.record['file']} was interrupted while it dropped an index, which is gone or invalid, "
                "and that is not recorded",
                f"Go on with the command that was interrupted, such as {PROGRAM} migrate down --to ID; or drop the "
                "index where it is invalid, and build it again, for the ledger still has it.",
            )
        if concurrently.built(statement) and found and self._is_ours(found):
            name = found.name.as_string(self.connection)
            raise RefusedError(
                f"{self.record['file']} was interrupted after it had built {name}, which is not recorded",
                f"Put its text back as it was and apply, which records it; or: DROP INDEX CONCURRENTLY {name}",
            )
        self._forget()

    def unrecorded(self) -> str:
        """The file whose index is built, or dropped, without its record; "" when there is none.

        What is invalid is dropped: it is the rest of a build, or of a drop.
        """
        if not self.record:
            return ""
        statement, found = self._drop_leftover()
        if concurrently.dropped(statement) and found and not found.valid:
            concurrently.clear(self.connection, found)
            found = None
        done = found is None if concurrently.dropped(statement) else found is not None
        return self.record["file"] if done and not concurrently.is_other(statement) else ""

    def _drop_leftover(self) -> tuple[Statement, concurrently.IndexState | None]:
        """The statement that was begun, and its index as it is after our invalid one was dropped."""
        file, text = self.record["file"], self.record["text"]
        refuse_faults([(file, text)])  # the ledger may have been edited by hand
        self.clean_session()
        statement = parse(text).statements[0]
        found = concurrently.look(self.connection, statement)
        if concurrently.built(statement) and found and not found.valid and self._is_ours(found):
            self.report(f"{file} was interrupted: dropping the index that it left unfinished")
            concurrently.clear(self.connection, found)
            return statement, None
        return statement, found

    def _is_ours(self, found: concurrently.IndexState) -> bool:
        return self.record.get("index", found.oid) == found.oid

    def _is_begun(self, step: Step) -> bool:
        return (self.record.get("file"), self.record.get("text")) == (step.file, step.text)

    def _forget(self) -> None:
        write.nothing_begun(self.connection)
        self.record = {}

    def _execute_begun(self, step: Step, statement: Statement) -> None:
        """Run it; where the server refuses it, remember which index it left, or that it left none."""
        if not concurrently.is_other(statement):
            lift_limits(self.connection)  # it waits for old transactions by design, and nobody waits behind it
        try:
            execute_alone(self.connection, step.file, statement, step.remedy)
        except MigrationError:
            found = concurrently.look(self.connection, statement)
            if self.record and found and not found.valid:
                write.begun(self.connection, {**self.record, "index": found.oid})
            elif self.record:
                self._forget()
            raise
        self._refuse_invalid(step, statement, concurrently.look(self.connection, statement))

    def _refuse_invalid(self, step: Step, statement: Statement, found: concurrently.IndexState | None) -> None:
        """Ours is dropped by now. CREATE INDEX IF NOT EXISTS would take another's for an index."""
        if concurrently.built(statement) and found and not found.valid:
            name = found.name.as_string(self.connection)
            raise RefusedError(
                f"{step.file}: the index {name} is invalid: its build was interrupted or goes on, and is not ours",
                f"When nobody builds it: DROP INDEX CONCURRENTLY {name}; then run the same command again.",
            )
