"""The check recall: its truth by numpy or by the server."""

from __future__ import annotations

from typing import NoReturn

import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.migrate.contract import convert
from pgvector_seed.postgres.catalog import parse_names
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.snapshot import catalog_snapshot
from pgvector_seed.vectors.queries import sample_queries
from seed.verify.checks import measured
from seed.verify.context import Context
from seed.verify.deadline import Deadline
from seed.verify.model import Status
from tests.conftest import ask
from tests.verify.helpers import CONTRACT, FAULTS, declared, results, run_sql, with_status

pytestmark = pytest.mark.newest

COARSE = FAULTS / "26-index-too-coarse.sql"
HIDDEN = """
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY halves ON items USING (id % 2 = 0);
"""


def refuse(*_values: object) -> NoReturn:
    """Fail the test if it is called."""
    pytest.fail("the server was asked for a truth that numpy has")


def recalls(base: str, count: int = 60, seconds: float = 60) -> tuple[list[float], list[float]]:
    """Return the recalls of one list of queries as measured with numpy, and by the server alone."""
    contract = convert(CONTRACT, "of the test")
    assert contract.tables
    with connect(base) as connection:
        (name,) = parse_names(connection, [contract.tables[0].name])
        context = Context(connection, contract, Deadline(seconds), name, contract.tables[0])
        column = context.vector_column
        assert column is not None
        with catalog_snapshot(connection), context.as_reader(column):
            queries = sample_queries(connection, column, context.size_in_bytes, count)
            ours = measured.measured_recalls(context, column, queries, 10)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(measured, "is_computable", lambda *_: False)
                return ours, measured.measured_recalls(context, column, queries, 10)


def test_numpy_measures_what_the_server_measures(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With numpy, no exact search is asked one by one, and every query has the recall that the server's truth gives."""
    run_sql(base, COARSE.read_text())
    monkeypatch.setattr(measured, "true_distances_of", refuse)
    ours, theirs = recalls(base)
    assert ours == theirs
    assert min(ours) < max(ours), "the index misses neighbors of some"


def test_what_numpy_has_no_time_for_is_measured_one_by_one(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deadline, "within", lambda *_: None)
    ours, theirs = recalls(base)
    assert ours == theirs
    assert len(ours) == 60


def test_a_policy_is_applied_by_the_server(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader sees half of the rows, and gets nearly all of these: the truth has no other."""
    run_sql(base, HIDDEN)
    monkeypatch.setattr(measured, "computed", refuse)
    table = {"recall": {"k": 10, "minimum": 0.1}}
    ask(base, "ALTER ROLE items_reader PASSWORD 'x'")
    reader = make_conninfo(base, user="items_reader", password="x")
    assert with_status(results(reader, declared(table), "recall"), Status.PASS).keys() == {"recall"}
