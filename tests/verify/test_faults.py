"""The fault matrix: exactly the named checks fail, and none on the base."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from local.server import Server
from seed.verify.checks import CHECKS
from seed.verify.checks.recall import QUERIES
from seed.verify.model import Status
from tests.conftest import ask, conninfo, tries
from tests.verify.conftest import build
from tests.verify.helpers import FAULTS, FEW_QUERIES, expected, failing, remedies, results, run_sql, with_status
from tests.verify.own_faults import OWN

# Faults whose printed remedy is SQL that fixes them.
FIXED_BY_REMEDY = {"09", "10", "11", "12", "13", "16", "17", "18", "19", "21", "22", "23", "24", "30"}

SEEDED = sorted(path for path in FAULTS.glob("[0-9]*.sql") if not path.name.endswith(".undo.sql"))


@pytest.mark.newest(also_on_16=("02", "07", "10", "14", "16", "17", "19", "21", "23", "25"))
@pytest.mark.parametrize("path", SEEDED, ids=lambda path: path.stem)
def test_a_seeded_fault_is_found_and_nothing_else(base: str, path: Path) -> None:
    """Exactly the checks that the fault's file names fail."""
    undo = path.with_suffix(".undo.sql")
    run_sql(base, path.read_text())
    try:
        outcomes = results(base, queries=QUERIES if "recall" in expected(path) else FEW_QUERIES)
        assert with_status(outcomes, Status.FAIL).keys() == expected(path)
        if path.stem[:2] in FIXED_BY_REMEDY:
            run_sql(base, remedies(outcomes))
            assert failing(base) == {}, "what it says to type fixes it"
    finally:
        if undo.exists():
            run_sql(base, undo.read_text())


def test_a_healthy_deployment_is_never_blamed(base: str) -> None:
    """No check fails on the base, with new random queries for recall in each round."""
    for _ in range(tries(10, soak=100)):
        outcomes = results(base, queries=QUERIES)
        assert with_status(outcomes, Status.FAIL) == {}
        assert with_status(outcomes, Status.SKIP) == {}


@pytest.mark.rest
def test_a_base_that_is_built_anew_is_not_blamed(server: Server) -> None:
    """No check fails on a base of other random vectors and another graph, whose counters may arrive late."""
    for number in range(tries(2, soak=100)):
        name = f"anew_{number}"
        seed = random.uniform(-1, 1)
        try:
            assert failing(build(server, name, seed), queries=QUERIES) == {}, f"with setseed({seed})"
        finally:
            ask(conninfo(server, "postgres"), f"DROP DATABASE {name} WITH (FORCE)")


def test_every_check_has_a_fault_that_only_it_finds() -> None:
    """Each check is needed for some fault: without that, a disabled check would go unnoticed."""
    seen = {frozenset(expected(path)) for path in SEEDED} | {frozenset(fault.expect) for fault in OWN}
    missing = {name for name in CHECKS if frozenset({name}) not in seen}
    assert missing == {"tls", "ledger"}, "these two have tests of their own: test_surroundings.py, test_ledger.py"
