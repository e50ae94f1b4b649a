"""The fault matrix: exactly the named checks fail, and on the base none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from local.server import Server
from seed.verify.checks import CHECKS
from seed.verify.outcome import Status
from tests.conftest import tries
from tests.verify.conftest import build
from tests.verify.helpers import CONTRACT, FAULTS, expected, failing, results, run_sql, with_status
from tests.verify.own_faults import OWN

SEEDED = sorted(path for path in FAULTS.glob("[0-9]*.sql") if not path.name.endswith(".undo.sql"))


@pytest.mark.parametrize("path", SEEDED, ids=lambda path: path.stem)
def test_a_seeded_fault_is_found_and_nothing_else(base: str, path: Path) -> None:
    """A deployment that is wrong in this way passed, or another part of it was blamed."""
    undo = path.with_suffix(".undo.sql")
    run_sql(base, path.read_text())
    try:
        assert failing(base).keys() == expected(path)
    finally:
        if undo.exists():
            run_sql(base, undo.read_text())


def test_a_healthy_deployment_is_never_blamed(base: str) -> None:
    """Recall is measured with other queries each time: none may be unlucky."""
    for _ in range(tries(10, soak=100)):
        found = results(base)
        assert with_status(found, Status.FAIL) == {}
        assert with_status(found, Status.SKIP) == {}


def test_a_base_that_is_built_anew_is_not_blamed(server: Server, new_database: Callable[..., str]) -> None:
    """Each has another graph in its index; and the counters of the session that built it may come in late."""
    for number in range(tries(2, soak=20)):
        name = f"anew_{number}"
        database = build(server, name)
        assert failing(database) == {}
        new_database("postgres")  # so that the fixture has something to drop
        from tests.conftest import ask, conninfo

        ask(conninfo(server, "postgres"), f"DROP DATABASE {name} WITH (FORCE)")


def test_every_check_has_a_fault_that_only_it_finds() -> None:
    """A check that no fault expects could be switched off, and nobody would see it."""
    seen = {frozenset(expected(path)) for path in SEEDED} | {frozenset(fault.expect) for fault in OWN}
    missing = {name for name in CHECKS if frozenset({name}) not in seen}
    assert missing == {"tls", "ledger"}, "these two have tests of their own: test_tls.py, test_ledger.py"


def test_the_contract_of_the_matrix_is_the_one_that_is_described() -> None:
    assert CONTRACT["contract"] == 1
