"""Apply migrations and undo them. What is done is what the ledger in the database says.

Each migration and its row in the ledger are one transaction, under one lock, so a run that dies at
any moment can be run again, and two runs at once do the work once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, checksums
from pgvector_seed.migrate.handover import reassign
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger, read_own_ledger
from pgvector_seed.migrate.lock import Progress, locked
from pgvector_seed.migrate.plan import Plan, plan, refuse_irreversible
from pgvector_seed.migrate.provenance import refuse_another_schema, refuse_untrusted
from pgvector_seed.migrate.script import refuse_faults, texts
from pgvector_seed.migrate.session import SESSIONS_OWN, Limits, refuse_closed_schema
from pgvector_seed.migrate.step import StepRunner, apply_step, undo_step
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated

BASE = "base"  # before the first migration


@dataclass(frozen=True)
class ApplyOptions:
    """Choices of a run.

    ``allow_down`` undoes migrations at the end whose files are gone. ``keep_declared`` leaves what an
    existing ledger declares as it is; the declaration that is given is then for a new one.
    """

    limits: Limits = SESSIONS_OWN
    allow_down: bool = False
    keep_declared: bool = False


CAREFUL = ApplyOptions()


@dataclass(frozen=True)
class Preview:
    """What ``apply`` would do: its steps, the ids whose down was edited, and whether it would declare anew."""

    ledger: Ledger | None
    declaration: Declaration
    plan: Plan
    edited_downs: list[str]
    declaration_changes: bool

    @property
    def nothing_to_do(self) -> bool:
        """True when the database is already what the files and the stack say."""
        return not (self.plan.undo or self.plan.apply or self.edited_downs or self.declaration_changes)


@dataclass(frozen=True)
class Done:
    """The ledger as ``apply`` left it, and the steps that led there."""

    ledger: Ledger
    plan: Plan


def preview(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    options: ApplyOptions = CAREFUL,
    *,
    to_write: bool = False,
) -> Preview:
    """Compare the files and the declaration with the ledger; nothing is changed. ``to_write`` is as in read_ledger.

    Raises RefusedError, and InputError for a text that is about to be run, where ``apply`` would.
    """
    with translated("reading the ledger"):
        ledger = read_ledger(connection, to_write=to_write)
    if ledger is None:
        refuse_faults(texts(migrations))
        return Preview(None, declaration, plan(checksums(migrations), {}), [], declaration_changes=True)
    refuse_another_schema(ledger.declaration.schema, declaration.schema)
    declaration = ledger.declaration if options.keep_declared else declaration
    steps = plan(checksums(migrations), ledger.checksums, ledger.irreversible, allow_down=options.allow_down)
    refuse_untrusted(ledger, migrations, steps.undo)
    edited = [
        migration.id
        for migration in migrations
        if migration.id in ledger.migrations and ledger.migrations[migration.id].down != migration.down
    ]
    refuse_faults(texts(migration for migration in migrations if migration.id in {*steps.apply, *edited}))
    return Preview(ledger, declaration, steps, edited, write.declaration_changes(ledger, declaration))


def apply(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    report: Progress,
    options: ApplyOptions = CAREFUL,
) -> Done:
    """Run what the ledger does not have yet, and record the declaration.

    ``report`` gets a line for each migration as it is done, and one when another applier is waited for.
    The session is left with the settings of the last one.

    Raises RefusedError when the files do not continue the ledger, and MigrationError when the server
    refuses one: those before it are then recorded, it and those after it are not.
    """
    with translated("applying the migrations"), locked(connection, report):
        reassign(connection, declaration.schema, report)
        found = preview(connection, migrations, declaration, options, to_write=True)
        by_id = {migration.id: migration for migration in migrations}
        recorded = found.ledger.migrations if found.ledger else {}
        chosen = [undo_step(recorded[id_]) for id_ in found.plan.undo]
        refuse_faults((step.file, step.text) for step in chosen)
        chosen += [apply_step(by_id[id_]) for id_ in found.plan.apply]
        if chosen:
            refuse_closed_schema(connection, found.declaration.schema)
        upgrade(connection, found.ledger, options.limits, report)
        steps = StepRunner(connection, found.ledger, found.declaration, options.limits, report)
        steps.unfinished.settle(chosen[0] if chosen else None)
        _record_downs(connection, [by_id[id_] for id_ in found.edited_downs], report)
        for step in chosen:
            steps.take(step, last=step is chosen[-1])
        if found.declaration_changes and not chosen:
            with connection.transaction():
                write.declare(connection, found.declaration)
        return Done(read_own_ledger(connection), found.plan)


def _record_downs(connection: Connection, migrations: Iterable[Migration], report: Progress) -> None:
    for migration in migrations:
        write.accept(connection, migration)
        report(f"{migration.id} has another down now, which is recorded")


def undo(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    to: str,
    report: Progress,
    limits: Limits = SESSIONS_OWN,
) -> list[str]:
    """Undo what was applied after the migration ``to``, newest first. Returns the ids.

    A down is run from its file among ``migrations``, and must be what the ledger keeps; where the file is gone, from
    the ledger. ``to`` may be BASE, which undoes all of it. ``schema`` is the deployment's. From then on nothing is
    promised, until the next ``apply``.

    Raises, before anything is run, RefusedError if one of them has no down, or a file and the ledger differ;
    InputError for an unknown id.
    """
    with translated("undoing the migrations"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        names = list(ledger.migrations) if ledger else []
        if to != BASE:
            refuse_not_applied(names, to)
            names = names[names.index(to) + 1 :]
        if ledger:
            _undo(connection, ledger, migrations, schema, names[::-1], limits, report)
    return names[::-1]


def refuse_not_applied(names: Iterable[str], id_: str) -> None:
    """Raise InputError for an id that the ledger does not have."""
    if id_ not in names:
        raise InputError(f"{id_} is not applied here", f"Applied: {', '.join(names) or 'nothing'}.")


def revert(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    report: Progress,
    at_end: Callable[[Connection], None] | None = None,
    limits: Limits = SESSIONS_OWN,
) -> None:
    """Undo every migration as ``undo`` does, and then drop the ledger.

    ``at_end`` runs in the transaction that drops the ledger, so that what it does is done with it or not at all.

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
    chosen = [undo_step(ledger.migrations[id_]) for id_ in ids]
    refuse_faults((step.file, step.text) for step in chosen)  # the ledger may have been edited by hand
    upgrade(connection, ledger, limits, report)
    steps = StepRunner(connection, ledger, ledger.declaration, limits, report)
    steps.unfinished.settle(chosen[0] if chosen else None)
    for step in chosen:
        steps.take(step)
