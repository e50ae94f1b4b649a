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
from tests.verify.helpers import CONTRACT, FAULTS, declared, failing, remedies, results, run_sql, with_status
from tests.verify.own_faults import BY_LABELS, GRANTS, RARE

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


TYPES = ("varchar", "char(9)", "name", "a_domain", "uuid", "int8", "an_enum", "text[]", "jsonb")
OF_TYPE = {
    "uuid": "md5(label)::uuid",
    "int8": "id % 50",
    "an_enum": "('e' || id % 9)::an_enum",
    "text[]": "ARRAY[label]",
    "jsonb": "to_jsonb(label)",
}


def test_recall_within_the_values_of_each_type(base: str) -> None:
    """Every plain type has its operator, and its values are found by their text; a composite type has none."""
    columns = ", ".join(f'{OF_TYPE.get(type_, f"label::{type_}")} AS "{type_}"' for type_ in TYPES)
    run_sql(
        base,
        "CREATE DOMAIN a_domain AS text CHECK (VALUE <> ''); CREATE TYPE a_pair AS (one int, two int); "
        "CREATE TYPE an_enum AS ENUM ('e0', 'e1', 'e2', 'e3', 'e4', 'e5', 'e6', 'e7', 'e8'); "
        f"CREATE TABLE typed AS SELECT id, embedding, ROW(1, 2)::a_pair AS pair, {columns} FROM items "
        "WHERE id <= 2000; ALTER TABLE typed ADD PRIMARY KEY (id); ANALYZE typed;" + GRANTS.format("typed"),
    )
    outcomes = {type_: _within(base, type_) for type_ in (*TYPES, "pair")}
    assert outcomes.pop("pair") == "there is no column pair with plain values"
    assert {type_: words.rpartition("; ")[2] for type_, words in outcomes.items()} == {
        type_: f'with the worst of 8 values of "{type_}": 1.000, between 1.000 and 1.000, by 40 queries'
        for type_ in TYPES
    }


def _within(base: str, column: str) -> str:
    """Return the message of the check."""
    table = {"name": "public.typed", "indexes": None, "recall": {"k": 10, "minimum": 0.9, "filter": column}}
    (result,) = results(base, declared(table), "recall", queries=10)
    return result.outcome.message


def test_the_value_with_the_worst_recall_is_named(base: str) -> None:
    """Fewer rows than there are count as misses. The remedy is an iterative scan, which finds them."""
    run_sql(base, RARE)
    outcomes = results(base, declared(BY_LABELS), "recall")
    (message,) = with_status(outcomes, Status.FAIL).values()
    assert message.startswith("with \"label\" = 'it''s rare': 0.")
    run_sql(base, remedies(outcomes))
    assert failing(base, declared(BY_LABELS), "recall") == {}


def test_no_value_is_judged_by_fewer_than_ten_queries(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time for that, the check is skipped: the interval of fewer would not be honest."""
    monkeypatch.setattr("seed.verify.checks.filtered._SHARE_OF_TIME", 1e-12)
    outcomes = results(base, declared(BY_LABELS), "recall")
    words = "a sixth of the time left was too short for 10 queries with one label"
    assert with_status(outcomes, Status.SKIP) == {"recall": words}
