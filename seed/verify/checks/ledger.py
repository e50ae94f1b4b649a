"""ledger: the database is the declared one, and has the declared migrations."""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.migrate.contract import DeclaredMigration
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import UntrustedLedgerError

from ..context import Look, NotAllowedError
from ..model import Check, Fault, Outcome, failed, failed_by, not_declared, passed

_REMEDY = f"Compare with the files: {PROGRAM} migrate status"


def judge(look: Look) -> Outcome:
    """Judge whose ledger it is, then each migration by name."""
    declared = look.contract.ledger
    if declared.id is None and declared.migrations is None:
        return not_declared("a ledger")
    expected = f"the ledger {declared.id}" if declared.id else "a ledger"
    if declared.migrations is not None:
        expected += f" with {_counted(len(declared.migrations))}"
    try:
        ledger = read_ledger(look.connection)  # a damaged one raises, which is this check's failure
    except UntrustedLedgerError as refused:
        raise NotAllowedError(str(refused)) from refused
    if ledger is None:
        return failed(expected, "this database has no ledger", "Connect to the declared database, or run: pulumi up")
    if declared.id not in (None, ledger.id):
        return failed(expected, f"the ledger {ledger.id}, another database's", "Connect to the declared database.")
    faults = [Fault(fault, _REMEDY) for fault in _faults(declared.migrations, ledger)]
    if ledger.writers.granted:
        names = ", ".join(ledger.writers.granted)
        faults.append(Fault(f"{names} may write to it", f"{ledger.writers.revoke};"))
    if faults:
        return failed_by(expected, faults)
    return passed(f"the ledger {ledger.id} with {_counted(len(ledger.migrations))}{_members(ledger)}", expected)


def _members(ledger: Ledger) -> str:
    names = ", ".join(ledger.writers.of_all_data)
    return f"; {names} may write to it, by pg_write_all_data" if names else ""


def _counted(number: int) -> str:
    return f"{number} migration" if number == 1 else f"{number} migrations"


def _faults(declared: tuple[DeclaredMigration, ...] | None, ledger: Ledger) -> Iterator[str]:
    if declared is None:
        return
    found = ledger.checksums
    for migration in declared:
        if migration.id not in found:
            yield f"{migration.id} is missing"
        elif migration.checksum not in (None, found[migration.id]):
            yield f"{migration.id} was changed"
    ids = [migration.id for migration in declared]
    yield from (f"{id_} is unknown to the contract" for id_ in found if id_ not in ids)
    if sorted(ids) == sorted(found) and ids != list(found):
        yield "they were applied in another order"
    if ledger.unfinished:
        yield f"{ledger.unfinished['file']} was begun and is not recorded as done"


CHECK = Check(
    "ledger",
    "it is another database's, a migration is missing, changed, unknown or unfinished, or another role may write to it",
    judge,
    of_a_table=False,
)
