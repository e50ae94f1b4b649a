"""The check ledger: the ledger has the declared id and migrations, and only its owner may write to it."""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.text import counted
from pgvector_seed.migrate.contract import DeclaredMigration
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import UntrustedLedgerError
from pgvector_seed.migrate.lock import begun

from ..context import Context, NotAllowedError
from ..model import Check, Fault, Outcome, failed, failed_with, not_declared, passed

# A superuser needs no ownership, which is a fault of its own; the declared owner of a table may deploy.
_OWNERS = """
SELECT DISTINCT r.rolname
FROM pg_namespace n
LEFT JOIN pg_class c ON c.relnamespace = n.oid
JOIN pg_roles r ON r.rolname = ANY (%s) AND NOT r.rolsuper
WHERE n.nspname = 'pgvector_seed'
  AND (pg_has_role(r.oid, n.nspowner, 'USAGE, SET') OR pg_has_role(r.oid, c.relowner, 'USAGE, SET'))
ORDER BY 1
"""
_REMEDY = f"To compare the ledger with the files: {PROGRAM} migrate status"


def run(context: Context) -> Outcome:
    """Compare the id of the ledger, then each migration and its checksum, then the privileges on the ledger."""
    declared = context.contract.ledger
    if declared.id is None and declared.migrations is None:
        return not_declared("a ledger")
    expected = f"the ledger {declared.id}" if declared.id else "a ledger"
    if declared.migrations is not None:
        expected += f" with {counted(len(declared.migrations), 'migration')}"
    owners = [name for (name,) in context.connection.execute(_OWNERS, (_data_roles(context),))]
    if owners:
        remedy = f"REASSIGN OWNED BY {context.quote(owners[0])} TO CURRENT_USER; -- as a superuser"
        return failed(expected, f"{' and '.join(owners)} owns the ledger", remedy)
    try:
        ledger = read_ledger(context.connection)  # raises if it is damaged, which fails this check
    except UntrustedLedgerError as error:
        raise NotAllowedError(str(error)) from error
    if ledger is None:
        return failed(expected, "this database has no ledger", "Connect to the declared database, or run: pulumi up")
    if declared.id not in (None, ledger.id):
        return failed(expected, f"the ledger {ledger.id}, another database's", "Connect to the declared database.")
    faults = [Fault(message, _REMEDY) for message in _faults(declared.migrations, ledger)]
    unfinished = begun(context.connection, ledger)
    if declared.migrations is not None and unfinished:
        faults.append(Fault(unfinished.message, unfinished.remedy))
    if ledger.writers.granted:
        names = ", ".join(ledger.writers.granted)
        faults.append(Fault(f"{names} may write to the ledger", f"{ledger.writers.revoke};"))
    if faults:
        return failed_with(expected, faults)
    actual = f"the ledger {ledger.id} with {counted(len(ledger.migrations), 'migration')}{_members_note(ledger)}"
    return passed(actual, expected)


def _data_roles(context: Context) -> list[str]:
    """Return the reader and the writer, except declared owners of a table: they should not own the ledger."""
    roles, tables = context.contract.roles, context.contract.tables or ()
    return [name for name in (roles.reader, roles.writer) if name and name not in {table.owner for table in tables}]


def _members_note(ledger: Ledger) -> str:
    names = ", ".join(ledger.writers.of_all_data)
    return f"; {names} may write to the ledger, by pg_write_all_data" if names else ""


def _faults(declared: tuple[DeclaredMigration, ...] | None, ledger: Ledger) -> Iterator[str]:
    if declared is None:
        return
    checksums = ledger.checksums
    for migration in declared:
        if migration.id not in checksums:
            yield f"{migration.id} is missing"
        elif migration.checksum not in (None, checksums[migration.id]):
            yield f"{migration.id} was changed"
    ids = [migration.id for migration in declared]
    yield from (f"{id_} is unknown to the contract" for id_ in checksums if id_ not in ids)
    if sorted(ids) == sorted(checksums) and ids != list(checksums):
        yield "the migrations were applied in another order"


CHECK = Check(
    "ledger",
    "the ledger is another database's, a migration is missing, changed, unknown or unfinished, or another "
    "role may write to the ledger",
    run,
    per_table=False,
)
