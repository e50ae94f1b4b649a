"""Making the ledger say what is already in the database, after a look whether it is."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.compare import differences
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import Progress, locked
from pgvector_seed.migrate.provenance import refuse_another_schema, refuse_untrusted
from pgvector_seed.migrate.runner import ApplyOptions, preview, refuse_not_applied
from pgvector_seed.migrate.script import refuse_faults, texts
from pgvector_seed.migrate.session import SESSIONS_OWN, Limits
from pgvector_seed.migrate.step import StepRunner
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.extension import require_extension

REMEDY = "Change the files until they make what is there, or the database; then run the same command again."


def baseline(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    to: str,
    report: Progress,
    limits: Limits = SESSIONS_OWN,
) -> list[str]:
    """Record every migration up to ``to`` as applied, without running it. Returns the ids.

    Raises RefusedError, and records nothing, where the database is not what they make.
    """
    with translated("taking the database over"), locked(connection, report):
        found = preview(connection, migrations, declaration, ApplyOptions(keep_declared=True), to_write=True)
        upto = _upto(migrations, to)
        new = [migration for migration in upto if migration.id in found.plan.apply]
        if new:
            _refuse_differences(connection, upto, found.declaration.schema, limits)
            upgrade(connection, found.ledger, limits, report)
            with connection.transaction():
                if found.ledger is None:
                    write.create(connection, found.declaration)
                for migration in new:
                    write.applied(connection, migration)
                if upto[-1] is migrations[-1]:
                    write.declare(connection, found.declaration)
    for migration in new:
        report(f"{migration.id} recorded, not run: the database has what it makes")
    return [migration.id for migration in new]


def repair(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    id_: str,
    report: Progress,
    limits: Limits = SESSIONS_OWN,
) -> bool:
    """Record the edited texts of an applied migration, whose effect is in place. False where they are recorded.

    ``schema`` is the deployment's.

    Raises RefusedError, and records nothing, where the database is not what the applied migrations make.
    """
    with translated("repairing the ledger"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        refuse_not_applied(ledger.migrations if ledger else (), id_)
        assert ledger is not None, "it has the migration"
        refuse_another_schema(ledger.declaration.schema, schema)
        refuse_untrusted(ledger, migrations)
        migration = _upto(migrations, id_)[-1]
        refuse_faults(texts([migration]))
        recorded = ledger.migrations[id_]
        if (recorded.checksum, recorded.down) == (migration.checksum, migration.down):
            return False
        upto = _upto(migrations, max(ledger.migrations))
        finished = StepRunner(connection, ledger, ledger.declaration, limits, report).unfinished.unrecorded()
        upto += [found for found in migrations if found not in upto and up_file(found.id) == finished]
        _refuse_differences(connection, upto, schema, limits)
        upgrade(connection, ledger, limits, report)
        with connection.transaction():
            write.accept(connection, migration)
            if ledger.catalogue:
                write.promise_nothing(connection)
                write.declare(connection, ledger.declaration)
    report(f"{id_} recorded as it is in its files now, not run")
    return True


def _upto(migrations: Sequence[Migration], id_: str) -> list[Migration]:
    names = [migration.id for migration in migrations]
    if id_ not in names:
        raise InputError(f"there is no migration {id_}", f"There are: {', '.join(names)}")
    return list(migrations[: names.index(id_) + 1])


def _refuse_differences(connection: Connection, migrations: Sequence[Migration], schema: str, limits: Limits) -> None:
    found = differences(connection, migrations, schema, require_extension(connection).schema, limits)
    if found:
        raise RefusedError("the database is not what the migrations make: " + "; ".join(found), REMEDY)
