"""Verifying a database from a test, and seeding faults in it."""

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
from seed.verify.deadline import Clock
from seed.verify.model import Result, Status
from seed.verify.runner import verify
from tests.conftest import tries

FEW_QUERIES = tries(40, soak=recall.QUERIES)  # where recall is not the point
FAULTS = Path(__file__).parents[1] / "faults"
CONTRACT: dict[str, Any] = json.loads((FAULTS / "contract.json").read_text())


def run_sql(conninfo: str, text: str) -> None:
    """Run each statement in its own transaction, in one session, as psql does with a file."""
    with connect(conninfo) as connection:
        for statement in split(text):
            connection.execute(statement.text.encode())


def declared(table: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The base's contract with other entries, in its table and at its top; None takes one away."""
    contract = copy.deepcopy(CONTRACT)
    for entries, others in ((contract["tables"][0], table or {}), (contract, changes)):
        for key, value in others.items():
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
) -> list[Result]:
    """What the checks say; ``recall`` asks so many queries."""
    with connect(conninfo) as connection, mock.patch.object(recall, "QUERIES", queries):
        found, lost = verify(connection, convert(contract, "of the test"), names or CHECKS, Clock(seconds))
    assert lost is None, lost
    return found


def with_status(found: Sequence[Result], status: Status) -> dict[str, str]:
    """Check to what it found, of those with that status."""
    return {result.name: result.outcome.found for result in found if result.outcome.status is status}


def failing(
    conninfo: str, contract: Mapping[str, Any] = CONTRACT, *names: str, queries: int = FEW_QUERIES
) -> dict[str, str]:
    """Check to what it found, of those that fail."""
    return with_status(results(conninfo, contract, *names, queries=queries), Status.FAIL)


def expected(path: Path) -> set[str]:
    """The checks that a fault's first line names."""
    return set(path.read_text().splitlines()[0].removeprefix("-- expect:").split())


def remedies(found: Sequence[Result]) -> str:
    """What the failures say to type."""
    return "\n".join(result.outcome.remedy for result in found if result.outcome.status is Status.FAIL)
