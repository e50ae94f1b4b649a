"""Recording migrations whose effect is already in the database, after comparing it with the files."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.compare import differences
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.declared_indexes import declared_indexes
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.ledger import write
from pgvector_seed.migrate.ledger.format import upgrade
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import locked
from pgvector_seed.migrate.provenance import refuse_another_schema, refuse_untrusted
from pgvector_seed.migrate.runner import ApplyOptions, preview, refuse_not_applied
from pgvector_seed.migrate.script import file_texts, refuse_faults
from pgvector_seed.migrate.session import DEFAULT_LIMITS, Limits
from pgvector_seed.migrate.step import StepRunner
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.vectors.extension import require_extension
from pgvector_seed.vectors.index.definition import with_suffixes
from pgvector_seed.vectors.tables import vector_tables

REMEDY = "Change the files or the database until they agree; then run the same command again."


def baseline(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    to: str,
    report: Progress,
    limits: Limits = DEFAULT_LIMITS,
) -> list[str]:
    """Record every migration up to ``to`` as applied, without running it. Returns the ids.

    Raises RefusedError, and records nothing, if the database differs from the result of these migrations; InputError
    if ``to`` is not the id of a file.
    """
    with translated("recording the migrations"), locked(connection, report):
        work = preview(connection, migrations, declaration, ApplyOptions(keep_declared=True), to_write=True)
        upto = _upto(migrations, to)
        new = [migration for migration in upto if migration.id in work.plan.apply]
        if new:
            _refuse_differences(connection, upto, work.declaration, work.ledger, limits)
            upgrade(connection, work.ledger, limits, report)
            with connection.transaction():
                if work.ledger is None:
                    schema_created = write.create_missing_schema(connection, work.declaration)
                    write.create(connection, work.declaration, schema_created=schema_created)
                for migration in new:
                    write.record_applied(connection, migration)
                if upto[-1] is migrations[-1]:
                    write.record_declaration(connection, work.declaration)
    for migration in new:
        report(f"{migration.id} recorded, not run: the database already has its effect")
    return [migration.id for migration in new]


def repair(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    id_: str,
    report: Progress,
    limits: Limits = DEFAULT_LIMITS,
) -> bool:
    """Record the edited files of an applied migration, without running them. Returns False if the ledger has them.

    ``schema`` is the deployment's.

    Raises RefusedError, and records nothing, if the database differs from the result of the applied migrations;
    InputError if ``id_`` is not applied or not the id of a file.
    """
    with translated("repairing the ledger"), locked(connection, report):
        ledger = read_ledger(connection, to_write=True)
        refuse_not_applied(ledger.migrations if ledger else (), id_)
        assert ledger is not None, "the migration is applied"
        refuse_another_schema(ledger.declaration.schema, schema)
        refuse_untrusted(ledger, migrations)
        migration = _upto(migrations, id_)[-1]
        refuse_faults(file_texts([migration]))
        recorded = ledger.migrations[id_]
        if (recorded.checksum, recorded.down) == (migration.checksum, migration.down):
            return False
        upto = _upto(migrations, max(ledger.migrations))
        unrecorded = StepRunner(connection, ledger, ledger.declaration, limits, report).unfinished.unrecorded()
        upto += [other for other in migrations if other not in upto and up_file(other.id) == unrecorded]
        _refuse_differences(connection, upto, ledger.declaration, ledger, limits)
        upgrade(connection, ledger, limits, report)
        with connection.transaction():
            write.record_texts(connection, migration)
            if ledger.catalogue:
                write.clear_contract(connection)
                write.record_declaration(connection, ledger.declaration)
    report(f"{id_} recorded with the text of its files, not run")
    return True


def _upto(migrations: Sequence[Migration], id_: str) -> list[Migration]:
    ids = [migration.id for migration in migrations]
    if id_ not in ids:
        raise InputError(f"unknown migration: {id_}", f"The folder has: {', '.join(ids)}")
    return list(migrations[: ids.index(id_) + 1])


def _refuse_differences(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    ledger: Ledger | None,
    limits: Limits,
) -> None:
    schema = declaration.schema
    tables = vector_tables(connection, schema)
    names = [definition.name for definition in declared_indexes(schema, declaration.tables, tables)]
    ignored = with_suffixes([*names, *(index.name for index in (ledger.indexes if ledger else ()))])
    faults = differences(connection, migrations, schema, require_extension(connection).schema, limits, ignored)
    if faults:
        raise RefusedError("the database differs from the migrations: " + "; ".join(faults), REMEDY)
