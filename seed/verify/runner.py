"""Run the checks in their order, each in its own read-only transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
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

_Place = tuple[Check, int, Context]  # with the number of the table


def run_checks(
    connection: Connection, contract: Contract, names: Collection[str], deadline: Deadline, *, try_writes: bool = False
) -> tuple[list[Result], UnreachableError | None]:
    """Return the results of the named checks, and the error that ended the run early, or None.

    With ``try_writes``, the login must be the writer (``require_writer``).

    Raises InputError if the contract has a table's name that is not valid in SQL.
    """
    declared = contract.tables or ()
    with translated("looking for the tables"):
        table_names = parse_names(connection, [table.name for table in declared])
    pairs = zip(table_names, declared, strict=True)
    tables = [Context(connection, contract, deadline, name, table, try_writes=try_writes) for name, table in pairs]
    database = Context(connection, contract, deadline)
    places = [
        (check, number, context)
        for check in _with_prerequisites(names)
        for number, context in enumerate((tables or [database]) if check.per_table else [database])
    ]
    run = _Run(names, deadline)
    for place in places:
        run.make(*place)
        if run.error:
            break
    return _results(run, [place for place in places if place[0].name in names], contract), run.error


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

    def make(self, check: Check, number: int, context: Context) -> None:
        """Run a check, unless a check before it failed. Sets ``error``, and no outcome, if the run has ended."""
        start = time.monotonic()
        self.error = self.deadline.expiry_error
        if self.error:
            return
        try:
            outcome = self._outcome(check, context, number)
        except UnreachableError as lost:
            self.error = lost
            return
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


def _results(run: _Run, places: Sequence[_Place], contract: Contract) -> list[Result]:
    """Return the results of the checks in these places; a skip for each that was not made before the run ended."""
    columns = Counter(table.name for table in contract.tables or ())
    rest = skipped(run.error.message if run.error else "")
    results = []
    for check, number, context in places:
        outcome = run.outcomes.get((check.name, number), rest)
        seconds = run.seconds.get((check.name, number), 0.0)
        table = context.declared_table
        results.append(
            Result(check.name, table.name, outcome, seconds, table.vector, has_siblings=columns[table.name] > 1)
            if table
            else Result(check.name, None, outcome, seconds)
        )
    return results
