"""Verifying a database in a test, and seeding faults in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from pgvector_seed.migrate.contract import convert
from pgvector_seed.migrate.scanner import split
from pgvector_seed.postgres.connection import connect
from seed.verify.checks import CHECKS, recall
from seed.verify.deadline import Deadline
from seed.verify.model import Result, Status
from seed.verify.runner import run_checks
from tests.conftest import tries

FEW_QUERIES = tries(40, soak=recall.QUERIES)  # for tests that are not about recall
FAULTS = Path(__file__).parents[1] / "faults"
CONTRACT: dict[str, Any] = json.loads((FAULTS / "contract.json").read_text())


def run_sql(conninfo: str, text: str) -> None:
    """Run each statement in its own transaction, in one session, as psql does with a file."""
    with connect(conninfo) as connection:
        for statement in split(text):
            connection.execute(statement.text.encode())


def declared(table: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the base's contract with changed entries in its table and at its top; None removes an entry."""
    contract = copy.deepcopy(CONTRACT)
    for entries, changed in ((contract["tables"][0], table or {}), (contract, changes)):
        for key, value in changed.items():
            entries[key] = value
            if value is None:
                del entries[key]
    return contract


def results(
    conninfo: str,
    contract: Mapping[str, Any] = CONTRACT,
    *names: str,
    seconds: float = 60,
    queries: int = FEW_QUERIES,
    try_writes: bool = False,
) -> list[Result]:
    """Return the results of the checks; recall is measured with ``queries`` queries."""
    with connect(conninfo) as connection, mock.patch.object(recall, "QUERIES", queries):
        check_results, error = run_checks(
            connection, convert(contract, "of the test"), names or CHECKS, Deadline(seconds), try_writes=try_writes
        )
    assert error is None, error
    return check_results


def with_status(check_results: Sequence[Result], status: Status) -> dict[str, str]:
    """Return the messages of the results with this status, by check."""
    return {result.name: result.outcome.message for result in check_results if result.outcome.status is status}


def failing(
    conninfo: str, contract: Mapping[str, Any] = CONTRACT, *names: str, queries: int = FEW_QUERIES
) -> dict[str, str]:
    """Return the messages of the checks that fail, by check."""
    return with_status(results(conninfo, contract, *names, queries=queries), Status.FAIL)


def expected(path: Path) -> set[str]:
    """Return the checks that the first line of a fault's file names."""
    return set(path.read_text().splitlines()[0].removeprefix("-- expect:").split())


def remedies(check_results: Sequence[Result]) -> str:
    """Return the remedies of all failures, one per line."""
    return "\n".join(result.outcome.remedy for result in check_results if result.outcome.status is Status.FAIL)
