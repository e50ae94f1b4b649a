"""The check `ledger`: another database, missing, changed or unknown migrations, and other roles that may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seed.verify.model import Status
from tests.conftest import ask
from tests.migrate.helpers import run, write
from tests.verify.helpers import failing, results, with_status


@pytest.fixture
def promised(database: str, folder: Path) -> dict[str, Any]:
    """Return the contract of a database with two migrations."""
    write(folder, a1_up="CREATE TABLE a (id bigint PRIMARY KEY, embedding vector(3))", b2_up="CREATE TABLE b ()")
    ledger, _ = run(database, folder)
    return {"contract": 1, "ledger": ledger.contract["ledger"]}


def test_the_ledger_is_as_promised(database: str, promised: dict[str, Any]) -> None:
    passes = with_status(results(database, promised), Status.PASS)
    assert passes["ledger"] == f"the ledger {promised['ledger']['id']} with 2 migrations"


def unknown(contract: dict[str, Any]) -> None:
    del contract["ledger"]["migrations"][1]


def missing(contract: dict[str, Any]) -> None:
    contract["ledger"]["migrations"].append({"id": "0003_c", "checksum": "0" * 64})


def changed(contract: dict[str, Any]) -> None:
    contract["ledger"]["migrations"][0]["checksum"] = "0" * 64


def another(contract: dict[str, Any]) -> None:
    contract["ledger"]["id"] = "00000000-0000-0000-0000-000000000000"


def reordered(contract: dict[str, Any]) -> None:
    contract["ledger"]["migrations"].reverse()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (unknown, "0002_b is unknown to the contract"),
        (missing, "0003_c is missing"),
        (changed, "0001_a was changed"),
        (another, "another database's"),
        (reordered, "the migrations were applied in another order"),
    ],
)
def test_a_ledger_that_is_not_the_promised_one(
    database: str, promised: dict[str, Any], edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    """Each difference from the promised migrations fails, as does the ledger of another database."""
    edit(promised)
    assert message in failing(database, promised)["ledger"]


def test_every_wrong_migration_is_named(database: str, promised: dict[str, Any]) -> None:
    changed(promised)
    missing(promised)
    assert failing(database, promised)["ledger"] == "0001_a was changed; 0003_c is missing"


def test_a_database_without_a_ledger(empty_database: str, promised: dict[str, Any]) -> None:
    assert failing(empty_database, promised) == {"ledger": "this database has no ledger"}


def test_a_ledger_that_is_damaged(database: str, promised: dict[str, Any]) -> None:
    ask(database, "DROP TABLE pgvector_seed.migrations")
    assert "is damaged" in failing(database, promised)["ledger"]


def test_a_migration_that_was_not_finished(database: str, promised: dict[str, Any]) -> None:
    ask(database, """UPDATE pgvector_seed.deployment SET unfinished = '{"file": "0003_c.up.sql", "text": "x"}'""")
    assert failing(database, promised)["ledger"] == "0003_c.up.sql was begun and is not recorded as done"


@pytest.fixture
def intruder(database: str) -> Iterator[str]:
    """Yield the quoted name of a role without privileges."""
    ask(database, 'DROP ROLE IF EXISTS "in truder"; CREATE ROLE "in truder"')
    yield '"in truder"'
    ask(database, 'DROP OWNED BY "in truder"; DROP ROLE "in truder"')


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT UPDATE ON pgvector_seed.migrations TO {}",
        "GRANT UPDATE (down) ON pgvector_seed.migrations TO {} WITH GRANT OPTION",
        "GRANT TRIGGER ON pgvector_seed.deployment TO {}",
        "GRANT REFERENCES ON pgvector_seed.migrations TO {}",
        "GRANT INSERT ON pgvector_seed.deployment TO PUBLIC",
    ],
)
def test_a_ledger_on_which_another_was_granted_writing(
    database: str, promised: dict[str, Any], intruder: str, grant: str
) -> None:
    """Another role's right to write fails, and the printed remedy revokes it."""
    ask(database, grant.format(intruder))
    (result,) = [result for result in results(database, promised) if result.name == "ledger"]
    grantee = "PUBLIC" if "PUBLIC" in grant else intruder
    assert result.outcome.message == f"{grantee} may write to the ledger"
    ask(database, result.outcome.remedy)
    assert "ledger" in with_status(results(database, promised), Status.PASS)


@pytest.mark.newest
@pytest.mark.parametrize("owned", ["SCHEMA pgvector_seed", "TABLE pgvector_seed.migrations"])
def test_a_ledger_that_the_writer_owns(database: str, promised: dict[str, Any], intruder: str, owned: str) -> None:
    """Regression: a superuser only skipped it. An owner may drop the ledger, and a schema's owner its tables."""
    ask(database, f"ALTER {owned} OWNER TO {intruder}")
    contract = {**promised, "roles": {"writer": "in truder"}}
    (result,) = [result for result in results(database, contract) if result.name == "ledger"]
    assert result.outcome.message == "in truder owns the ledger"
    ask(database, result.outcome.remedy)
    assert "ledger" in with_status(results(database, contract), Status.PASS)


def test_a_right_to_write_hides_no_other_fault(database: str, promised: dict[str, Any], intruder: str) -> None:
    ask(database, f"GRANT UPDATE ON pgvector_seed.migrations TO {intruder}")
    changed(promised)
    assert failing(database, promised)["ledger"] == f"0001_a was changed; {intruder} may write to the ledger"


def test_who_may_write_to_everything_is_named(database: str, promised: dict[str, Any], intruder: str) -> None:
    """A role that may write everywhere is named without a failure: the owner cannot revoke that right."""
    ask(database, f"GRANT pg_write_all_data TO {intruder}")
    message = with_status(results(database, promised), Status.PASS)["ledger"]
    assert message.endswith(f"; {intruder} may write to the ledger, by pg_write_all_data")


def test_who_may_only_read_is_no_fault(database: str, promised: dict[str, Any], intruder: str) -> None:
    ask(database, f"GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed TO {intruder}")
    assert "may write" not in with_status(results(database, promised), Status.PASS)["ledger"]
