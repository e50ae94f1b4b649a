"""Run the checks in their order, each in its own read-only transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.migrate.contract import Contract
from pgvector_seed.postgres.catalog import parse_names
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated

from .checks import CHECKS
from .context import Context
from .deadline import Deadline
from .execute import execute
from .model import Check, Fault, Outcome, Result, Status, failed_with, not_declared, skipped


def run_checks(
    connection: Connection, contract: Contract, names: Collection[str], deadline: Deadline
) -> tuple[list[Result], UnreachableError | None]:
    """Return the results of the named checks, and the error that ended the run early, or None.

    Raises InputError if the contract has a table's name that is not valid in SQL.
    """
    declared = contract.tables or ()
    with translated("looking for the tables"):
        table_names = parse_names(connection, [table.name for table in declared])
    database = Context(connection, contract, deadline)
    pairs = zip(table_names, declared, strict=True)
    tables = [Context(connection, contract, deadline, name, table) for name, table in pairs]
    run = _Run(names, deadline)
    for check in _with_prerequisites(names):
        for number, context in enumerate((tables or [database]) if check.per_table else [database]):
            run.make(check, context, number)
    return _results(run, database, tables), run.error


def _with_prerequisites(names: Collection[str]) -> list[Check]:
    """Return the named checks and, before each, the checks that it depends on."""
    needed = {"connect", *names}
    for check in reversed(CHECKS.values()):
        if check.name in needed:
            needed.update(check.after)
    return [check for check in CHECKS.values() if check.name in needed]


class _Run:
    """The outcomes of the checks so far and their seconds, by check and number of the table, and the error if any."""

    def __init__(self, names: Collection[str], deadline: Deadline) -> None:
        self.names = names
        self.deadline = deadline
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        self.seconds: dict[tuple[str, int], float] = {}
        self.error: UnreachableError | None = None

    def make(self, check: Check, context: Context, number: int) -> None:
        """Run a check, unless the run has ended or a check before it failed."""
        start = time.monotonic()
        self.error = self.error or self.deadline.expiry_error
        try:
            outcome = skipped(self.error.message) if self.error else self._outcome(check, context, number)
        except UnreachableError as lost:
            self.error = lost
            outcome = skipped(lost.message)
        self.outcomes[check.name, number] = outcome
        self.seconds[check.name, number] = time.monotonic() - start
        for name, damage in context.damage.items():
            if (name, number) in self.outcomes:
                self.outcomes[name, number] = _with_damage(self.outcomes[name, number], damage)

    def _outcome(self, check: Check, context: Context, number: int) -> Outcome:
        if check.per_table and context.declared_table is None:
            return not_declared("a table")
        for name in () if check.name == "connect" else ("connect", *check.after):
            prior = self.outcomes[name, number if CHECKS[name].per_table else 0]
            if prior.status is Status.FAIL and (prior.blocks is None or check.name in prior.blocks):
                return skipped(f"after {name}, which failed")
        return execute(check, context, self.names)


def _with_damage(outcome: Outcome, damage: Outcome) -> Outcome:
    """Return the failure of a damaged relation, after the other faults that its check has found."""
    if outcome.status is not Status.FAIL:
        return damage
    if outcome.message.endswith(damage.message):  # another check has met it, too
        return outcome
    faults = [Fault(outcome.message, outcome.remedy), Fault(damage.message, damage.remedy)]
    return replace(failed_with(outcome.expected, faults), blocks=outcome.blocks)


def _results(run: _Run, database: Context, tables: list[Context]) -> list[Result]:
    """Return the results of the named checks in the order in which they were made."""
    columns = Counter(table.name for table in database.contract.tables or ())
    results = []
    for (name, number), outcome in run.outcomes.items():
        if name not in run.names:
            continue
        table = tables[number].declared if tables and CHECKS[name].per_table else None
        place = (None, None) if table is None else (table.name, table.vector)
        siblings = table is not None and columns[table.name] > 1
        results.append(
            Result(name, place[0], outcome, run.seconds[name, number], place[1], has_siblings=siblings),
        )
    return results
