"""Apply migrations and undo them. What is done is what the ledger in the database says.

Each migration and its row in the ledger are one transaction, under one lock, so a run that dies at
any moment can be run again, and two runs at once do the work once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from migrate import records
from migrate.files import Migration, checksums
from migrate.lock import locked
from migrate.plan import plan
from postgres.catalogue import Extension, extension
from postgres.connection import Connection, set_search_path
from postgres.contract import Declaration
from postgres.errors import InputError, MigrationError, RefusedError, one_line, translated
from postgres.ledger import Applied, Ledger, read_ledger

Report = Callable[[str], None]

ALREADY_THERE = ("42P07", "42710")
MEND_UP = "Mend the file and run the same command again: what came before it is recorded."
MEND_DOWN = "Mend the file, apply once more, which records the new down, and then revert again."
MEND_UP_OF_NEW = (
    "The object was there before, and this database has no ledger that says who made it: "
    "rename it, or give the deployment a schema of its own: pulumi config set schema NAME"
)


@dataclass(frozen=True)
class Status:
    """What ``apply`` would do: the ids it would run, those whose down was edited, and whether it would declare anew."""

    ledger: Ledger | None
    pending: list[str]
    edited_downs: list[str]
    declaration_changes: bool

    @property
    def nothing_to_do(self) -> bool:
        """True when the database is already what the files and the stack say."""
        return not (self.pending or self.edited_downs or self.declaration_changes)


def status(connection: Connection, migrations: Sequence[Migration], declaration: Declaration) -> Status:
    """Compare the files and the declaration with the ledger; nothing is changed.

    Raises RefusedError where ``apply`` would.
    """
    with translated("reading the ledger"):
        ledger = read_ledger(connection)
    if ledger is None:
        return Status(None, plan(checksums(migrations), {}), [], declaration_changes=True)
    if ledger.schema != declaration.schema:
        raise RefusedError(
            f"this database's migrations were applied in the schema {ledger.schema}, not {declaration.schema}",
            f"Set it back: pulumi config set schema {ledger.schema}",
        )
    pending = plan(checksums(migrations), ledger.checksums)
    downs = {migration.id: migration.down for migration in migrations}
    edited = [applied.id for applied in ledger.migrations if applied.down != downs[applied.id]]
    return Status(ledger, pending, edited, records.declaration_changes(ledger, declaration))


def apply(connection: Connection, migrations: Sequence[Migration], declaration: Declaration, report: Report) -> Ledger:
    """Run what the ledger does not have yet, record the declaration, and return the ledger.

    ``report`` gets a line for each migration as it is done, and one when another applier is waited for.

    Raises RefusedError when the files do not continue the ledger, and MigrationError when the server
    refuses one: those before it are then recorded, it and those after it are not.
    """
    with translated("applying the migrations"), locked(connection, report):
        found = status(connection, migrations, declaration)
        for migration in migrations:
            if migration.id in found.edited_downs:
                records.edit_down(connection, migration)
                report(f"{migration.id} has another down now, which is recorded")
        pending = [migration for migration in migrations if migration.id in found.pending]
        for migration in pending:
            new = found.ledger is None and migration is pending[0]
            _apply_one(connection, migration, declaration, report, new=new, last=migration is pending[-1])
        if found.declaration_changes and not pending:
            with connection.transaction():
                records.declare(connection, declaration)
        ledger = read_ledger(connection)
    assert ledger is not None, "apply always leaves a ledger"
    return ledger


def _apply_one(
    connection: Connection, migration: Migration, declaration: Declaration, report: Report, *, new: bool, last: bool
) -> None:
    """One migration and its record in one transaction: with the ``new`` ledger, or with the ``last`` one's contract."""
    started = time.monotonic()
    with connection.transaction():
        if new:
            records.create(connection, declaration)
        remedy = MEND_UP_OF_NEW if new else MEND_UP
        _run(connection, migration.up, migration.up_file, declaration.schema, remedy=remedy)
        seconds = time.monotonic() - started
        records.applied(connection, migration, seconds)
        if last:
            records.declare(connection, declaration)
    report(f"{migration.id} applied in {seconds:.3f} s")


def revert(connection: Connection, report: Report, at_end: Callable[[Connection], None] | None = None) -> None:
    """Undo every migration, newest first, by the downs that the ledger keeps, and then drop the ledger.

    ``at_end`` runs in the transaction that drops the ledger, so that what it does is done with it or not at all.

    Raises RefusedError, before anything is run, when one of them has no down.
    """
    with translated("undoing the migrations"), locked(connection, report):
        ledger = read_ledger(connection)
        if ledger is None:
            return
        stuck = [migration.id for migration in ledger.migrations if migration.down is None]
        if stuck:
            raise RefusedError(
                f"no down was recorded for {', '.join(stuck)}, so it cannot be undone",
                "Keep the data instead: pulumi config set onDestroy retain && pulumi up",
            )
        for migration in reversed(ledger.migrations):
            _revert_one(connection, migration, ledger.schema, report)
        with connection.transaction():
            records.drop(connection, ledger)
            if at_end:
                at_end(connection)


def _revert_one(connection: Connection, migration: Applied, schema: str, report: Report) -> None:
    started = time.monotonic()
    with connection.transaction():
        _run(connection, migration.down or "", f"{migration.id}.down.sql", schema, remedy=MEND_DOWN)
        records.reverted(connection, migration)
    report(f"{migration.id} reverted in {time.monotonic() - started:.3f} s")


def _run(connection: Connection, text: str, file: str, schema: str, *, remedy: str) -> None:
    """Run a file's SQL with the deployment's schema and then the extension's on the search_path."""
    set_search_path(connection, schema, _extension(connection).schema)
    try:
        connection.execute(text.encode(), prepare=False)
    except psycopg.Error as error:
        if error.sqlstate is None or connection.broken:
            raise
        if remedy is MEND_UP_OF_NEW and error.sqlstate not in ALREADY_THERE:
            remedy = MEND_UP
        raise MigrationError(f"{file}{_line(text, error)}: {one_line(error)}", remedy) from error


def _extension(connection: Connection) -> Extension:
    found = extension(connection)
    if found is None:
        raise InputError(
            "the extension vector is not enabled in this database",
            "Enable it, as a superuser where it must be: CREATE EXTENSION vector",
        )
    return found


def _line(text: str, error: psycopg.Error) -> str:
    position = error.diag.statement_position
    return f", line {text.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
