"""Applying migrations and undoing them, as the ledger in the database records.

Each migration and its row in the ledger are one transaction, under one lock, so a run that dies at any moment can be
run again, and two runs at once apply each migration once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.declaration import Declaration, refuse_unreadable
from pgvector_seed.migrate.expected import refuse_missing_tables
from pgvector_seed.migrate.files import Migration, checksums
from pgvector_seed.migrate.handover import reassign
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger, read_own_ledger
from pgvector_seed.migrate.lock import locked
from pgvector_seed.migrate.plan import Plan, plan, refuse_irreversible
from pgvector_seed.migrate.provenance import refuse_another_schema, refuse_untrusted
from pgvector_seed.migrate.script import file_texts, refuse_faults
from pgvector_seed.migrate.session import DEFAULT_LIMITS, Limits, require_create_privilege
from pgvector_seed.migrate.step import Step, StepRunner, apply_step, undo_step
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress

BASE = "base"  # before the first migration


@dataclass(frozen=True)
class ApplyOptions:
    """Options of ``apply`` and ``preview``.

    ``allow_down`` undoes the last migrations if their files are missing. ``keep_declared`` keeps the declaration of an
    existing ledger, and uses the caller's for a new ledger only.
    """

    limits: Limits = DEFAULT_LIMITS
    allow_down: bool = False
    keep_declared: bool = False


DEFAULT_OPTIONS = ApplyOptions()


@dataclass(frozen=True)
class Preview:
    """The work of the next ``apply``: its plan, the ids whose down was edited, and whether the declaration changes."""

    ledger: Ledger | None
    declaration: Declaration
    plan: Plan
    edited_downs: list[str]
    declaration_changes: bool

    @property
    def nothing_to_do(self) -> bool:
        """True if the database already has all that the files and the declaration say."""
        return not (self.plan.undo or self.plan.apply or self.edited_downs or self.declaration_changes)


@dataclass(frozen=True)
class ApplyResult:
    """The ledger after ``apply``, and the plan that was carried out."""

    ledger: Ledger
    plan: Plan


def preview(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    options: ApplyOptions = DEFAULT_OPTIONS,
    *,
    to_write: bool = False,
) -> Preview:
    """Return the work of the next ``apply``, and change nothing. ``to_write`` is passed to ``read_ledger``.

    Raises the RefusedError or InputError that ``apply`` would raise before it runs anything, such as for files that do
    not continue the ledger, or for a declared table that no migration makes.
    """
    refuse_unreadable(declaration)
    with translated("reading the ledger"):
        ledger = read_ledger(connection, to_write=to_write)
    if ledger is None:
        refuse_faults(file_texts(migrations))
        steps = plan(checksums(migrations), {})
        refuse_missing_tables(connection, declaration, migrations, steps, None)
        return Preview(None, declaration, steps, [], declaration_changes=True)
    refuse_another_schema(ledger.declaration.schema, declaration.schema)
    declaration = ledger.declaration if options.keep_declared else declaration
    steps = plan(checksums(migrations), ledger.checksums, ledger.irreversible, allow_down=options.allow_down)
    refuse_untrusted(ledger, migrations, steps.undo)
    edited = [
        migration.id
        for migration in migrations
        if migration.id in ledger.migrations and ledger.migrations[migration.id].down != migration.down
    ]
    refuse_faults(file_texts(migration for migration in migrations if migration.id in {*steps.apply, *edited}))
    work = Preview(ledger, declaration, steps, edited, write.declaration_changes(ledger, declaration))
    if not work.nothing_to_do:
        refuse_missing_tables(connection, declaration, migrations, steps, ledger)
    return work


def apply(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    report: Progress,
    options: ApplyOptions = DEFAULT_OPTIONS,
) -> ApplyResult:
    """Apply the migrations that the ledger does not have, and record the declaration.

    ``report`` gets a line for each migration after it ran, and one if another session holds the lock. The session
    keeps the settings of the last migration.

    Raises RefusedError if the files do not continue the ledger, and MigrationError if a migration fails: the ones
    before it are then recorded, and the failed one is rolled back if it runs in a transaction.
    """
    with translated("applying the migrations"), locked(connection, report):
        reassign(connection, declaration.schema, report)
        work = preview(connection, migrations, declaration, options, to_write=True)
        by_id = {migration.id: migration for migration in migrations}
        steps = _undo_steps(work.ledger, work.plan.undo) if work.ledger else []
        steps += [apply_step(by_id[id_]) for id_ in work.plan.apply]
        if steps:
            require_create_privilege(connection, work.declaration.schema)
        runner = _prepare(connection, work.ledger, work.declaration, steps, options.limits, report)
        _record_downs(connection, [by_id[id_] for id_ in work.edited_downs], report)
        for step in steps:
            runner.run(step, last=step is steps[-1])
        if work.declaration_changes and not steps:
            with connection.transaction():
                write.record_declaration(connection, work.declaration)
        return ApplyResult(read_own_ledger(connection), work.plan)


def _undo_steps(ledger: Ledger, ids: Iterable[str]) -> list[Step]:
    """Return the steps that undo ``ids``. Raises InputError for a faulty down: a ledger can be edited by hand."""
    steps = [undo_step(ledger.migrations[id_]) for id_ in ids]
    refuse_faults((step.file, step.text) for step in steps)
    return steps


def _prepare(
    connection: Connection,
    ledger: Ledger | None,
    declaration: Declaration,
    steps: Sequence[Step],
    limits: Limits,
    report: Progress,
) -> StepRunner:
    """Upgrade the ledger, settle a statement that was interrupted, and return the runner of ``steps``."""
    upgrade(connection, ledger, limits, report)
    runner = StepRunner(connection, ledger, declaration, limits, report)
    runner.unfinished.settle(steps[0] if steps else None)
    return runner


def _record_downs(connection: Connection, migrations: Iterable[Migration], report: Progress) -> None:
    for migration in migrations:
        write.record_texts(connection, migration)
        report(f"{migration.id}: the edited down is recorded")


def undo(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    to: str,
    report: Progress,
    limits: Limits = DEFAULT_LIMITS,
) -> list[str]:
    """Undo the migrations applied after ``to``, newest first. Returns their ids. Clears the contract.

    A recorded down must equal its file among ``migrations``; if the file is missing, the ledger's is run. ``to`` may be
    BASE, to undo all. ``schema`` is the deployment's.

    Raises, before anything is run, RefusedError if a migration has no down or its file differs from the ledger, and
    InputError if ``to`` is not applied.
    """
    with translated("undoing the migrations"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        ids = list(ledger.migrations) if ledger else []
        if to != BASE:
            refuse_not_applied(ids, to)
            ids = ids[ids.index(to) + 1 :]
        if ledger:
            _undo(connection, ledger, migrations, schema, ids[::-1], limits, report)
    return ids[::-1]


def refuse_not_applied(applied: Iterable[str], id_: str) -> None:
    """Raise InputError if ``id_`` is not among the applied ids."""
    if id_ not in applied:
        raise InputError(f"{id_} is not applied here", f"Applied: {', '.join(applied) or 'nothing'}.")


def revert(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    report: Progress,
    at_end: Callable[[Connection], None] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Undo every migration as ``undo`` does, and then drop the ledger.

    ``at_end`` runs in the transaction that drops the ledger, so that both happen or neither.

    Raises RefusedError as ``undo`` does.
    """
    with translated("undoing the migrations"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        if ledger is None:
            return
        _undo(connection, ledger, migrations, schema, list(ledger.migrations)[::-1], limits, report)
        with connection.transaction():
            write.drop(connection, ledger)
            if at_end:
                at_end(connection)


def _undo(
    connection: Connection,
    ledger: Ledger,
    migrations: Sequence[Migration],
    schema: str,
    ids: Sequence[str],
    limits: Limits,
    report: Progress,
) -> None:
    refuse_another_schema(ledger.declaration.schema, schema)
    refuse_irreversible(ids, ledger.irreversible)
    refuse_untrusted(ledger, migrations, ids)
    steps = _undo_steps(ledger, ids)
    runner = _prepare(connection, ledger, ledger.declaration, steps, limits, report)
    for step in steps:
        runner.run(step)
