"""Making the ledger say what is already in the database, after a look whether it is."""

from __future__ import annotations

from collections.abc import Sequence

from migrate import records
from migrate.compare import differences
from migrate.engine import CAREFUL, Options, status
from migrate.files import Migration
from migrate.lock import locked
from migrate.runner import Report, vector_extension
from migrate.script import refuse_faults
from postgres.connection import Connection
from postgres.contract import Declaration
from postgres.errors import InputError, RefusedError, translated
from postgres.ledger import read_ledger

REMEDY = "Change the files until they make what is there, or the database; then run the same command again."


def baseline(
    connection: Connection,
    migrations: Sequence[Migration],
    declaration: Declaration,
    to: str,
    report: Report,
    options: Options = CAREFUL,
) -> list[str]:
    """Record every migration up to ``to`` as applied, without running it. Returns the ids.

    Raises RefusedError, and records nothing, where the database is not what they make.
    """
    with translated("taking the database over"), locked(connection, report):
        found = status(connection, migrations, declaration, options)
        upto = _upto(migrations, to)
        new = [migration for migration in upto if migration.id in found.plan.ups]
        if new:
            _refuse_differences(connection, upto, found.declaration.schema, options)
            with connection.transaction():
                if found.ledger is None:
                    records.create(connection, found.declaration)
                for migration in new:
                    records.applied(connection, migration)
                if upto[-1] is migrations[-1]:
                    records.declare(connection, found.declaration)
    for migration in new:
        report(f"{migration.id} recorded, not run: the database has what it makes")
    return [migration.id for migration in new]


def repair(
    connection: Connection, migrations: Sequence[Migration], id_: str, report: Report, options: Options = CAREFUL
) -> bool:
    """Record the edited texts of an applied migration, whose effect is in place. False where they are recorded.

    Raises RefusedError, and records nothing, where the database is not what the applied migrations make.
    """
    with translated("repairing the ledger"), locked(connection, report):
        ledger = read_ledger(connection)
        if ledger is None or id_ not in ledger.checksums:
            raise InputError(f"{id_} is not applied here", "See python -m migrate status")
        migration = _upto(migrations, id_)[-1]
        refuse_faults([migration])
        (recorded,) = (applied for applied in ledger.migrations if applied.id == id_)
        if (recorded.checksum, recorded.down) == (migration.checksum, migration.down):
            return False
        upto = _upto(migrations, max(ledger.checksums))
        _refuse_differences(connection, upto, ledger.declaration.schema, options)
        with connection.transaction():
            records.accept(connection, migration)
            if ledger.catalogue:
                records.promise_nothing(connection)
                records.declare(connection, ledger.declaration)
    report(f"{id_} recorded as it is in its files now, not run")
    return True


def _upto(migrations: Sequence[Migration], id_: str) -> list[Migration]:
    names = [migration.id for migration in migrations]
    if id_ not in names:
        raise InputError(f"there is no migration {id_}", f"There are: {', '.join(names)}")
    return list(migrations[: names.index(id_) + 1])


def _refuse_differences(connection: Connection, migrations: Sequence[Migration], schema: str, options: Options) -> None:
    found = differences(connection, migrations, schema, vector_extension(connection).schema, options.limits)
    if found:
        raise RefusedError("the database is not what the migrations make: " + "; ".join(found), REMEDY)
