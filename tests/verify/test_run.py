"""The run of the checks: their isolation, their locks and their time limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.migrate.contract import convert
from pgvector_seed.postgres.connection import Connection, connect
from seed.verify.checks import CHECKS
from seed.verify.context import LOCK_SECONDS, Context
from seed.verify.deadline import Deadline
from seed.verify.execute import check_transaction
from seed.verify.model import Outcome, Status, passed
from seed.verify.runner import run_checks
from tests.conftest import DISKANN, ask
from tests.verify.helpers import CONTRACT, declared, failing, results, run_sql, with_status
from tests.verify.own_faults import UNSEEN
from tests.verify.test_command import run

LOGIN = "a_checker"
PLAIN = "embedding vector_cosine_ops"
HALF = "CAST(embedding AS halfvec(32)) halfvec_cosine_ops"
BITS = "CAST(binary_quantize(embedding) AS bit(32)) bit_hamming_ops"
KEYS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (PLAIN, {}),
    "half": (HALF, {"as": "halfvec"}),
    "bits": (BITS, {"bits": True}),
}


@pytest.fixture
def login(base: str) -> Iterator[str]:
    """Yield the conninfo of another login to the base, without privileges."""
    ask(base, f"CREATE ROLE {LOGIN} LOGIN PASSWORD 'x'")
    yield make_conninfo(base, user=LOGIN, password="x")
    ask(base, f"DROP OWNED BY {LOGIN}; DROP ROLE {LOGIN}")


def instead(monkeypatch: pytest.MonkeyPatch, name: str, run: Callable[[Context], Outcome]) -> None:
    """Replace the function of a check."""
    monkeypatch.setitem(CHECKS, name, dataclasses.replace(CHECKS[name], run=run))


def test_a_check_that_raises_fails_alone(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in one check does not stop the others."""

    def broken(_context: Context) -> Outcome:
        raise KeyError("nothing")

    instead(monkeypatch, "rows", broken)
    assert failing(base) == {"rows": "the check itself failed: KeyError: 'nothing'"}


def test_a_check_whose_sql_fails_fails_alone(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed statement does not leave its aborted transaction to the next check."""
    instead(monkeypatch, "extension", lambda context: passed(context.fetch_value("SELECT 1/0")))
    assert failing(base) == {"extension": "division by zero (SQLSTATE 22012)"}


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE t ()", "UPDATE items SET id = id", "SELECT nextval('public.items_id_seq')"]
)
def test_nothing_can_be_written(base: str, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    instead(
        monkeypatch,
        "bloat",
        lambda context: passed(str(context.connection.execute(statement.replace("items ", "public.items ")))),
    )
    assert "(SQLSTATE 25006)" in failing(base)["bloat"]


def test_no_lock_is_heavier_than_a_readers(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks hold no lock that blocks writers."""
    locks: set[str] = set()

    def spied(run: Callable[[Context], Outcome]) -> Callable[[Context], Outcome]:
        def spy(context: Context) -> Outcome:
            outcome = run(context)
            held = (
                "SELECT mode FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation'"
            )
            locks.update(mode for (mode,) in context.connection.execute(held))
            return outcome

        return spy

    for name, check in CHECKS.items():
        instead(monkeypatch, name, spied(check.run))
    results(base)
    assert locks == {"AccessShareLock"}


def test_a_table_that_somebody_locks_is_not_waited_for(base: str) -> None:
    """A table that a migration has locked is skipped without a failure, and without a long wait."""
    with psycopg.connect(base) as holder:
        holder.execute("LOCK TABLE items")
        outcomes = results(base)
    assert with_status(outcomes, Status.FAIL) == {}
    skipped = with_status(outcomes, Status.SKIP)
    assert skipped.keys() == {"rows", "vectors", "sequence", "plan", "recall", "statistics"}
    assert skipped["rows"].startswith("another session holds a lock on the table")
    assert sum(result.seconds for result in outcomes) < 2 * LOCK_SECONDS, "it is waited for once, not by every check"


def test_a_login_without_rights_is_told_what_it_lacks(login: str) -> None:
    """Only checks that read rows are skipped, and name the missing right; the catalog is open to all."""
    outcomes = results(login)
    assert with_status(outcomes, Status.FAIL) == {}
    lacking = "this login may not read public.items"
    assert with_status(outcomes, Status.SKIP) == dict.fromkeys(
        ("rows", "vectors", "sequence", "plan", "recall", "statistics"), lacking
    ) | {"sequence": "this login may not read the sequence public.items_id_seq"}


def test_each_declared_role_can_check(base: str) -> None:
    """No check fails for the writer or the reader; the reader skips the sequence."""
    for role in ("items_reader", "items_writer"):
        ask(base, f"ALTER ROLE {role} PASSWORD 'x'")
        outcomes = results(make_conninfo(base, user=role, password="x"))
        assert with_status(outcomes, Status.FAIL) == {}
        skipped = {"items_reader": {"sequence"}, "items_writer": set()}[role]
        assert with_status(outcomes, Status.SKIP).keys() == skipped


def test_rows_that_row_security_hides_are_not_missed(base: str, login: str) -> None:
    """Checks of the rows are skipped if row security hides rows from the login."""
    run_sql(
        base,
        f"GRANT SELECT ON items TO {LOGIN}; ALTER TABLE items ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY p ON items USING (id < 10)",
    )
    outcomes = results(login)
    assert with_status(outcomes, Status.FAIL) == {}
    hidden = "row security hides rows of public.items from this login"
    assert {name for name, why in with_status(outcomes, Status.SKIP).items() if why == hidden} == {
        "rows",
        "vectors",
        "statistics",
    }


def test_settings_of_the_one_who_checks_are_not_the_readers(base: str, login: str) -> None:
    """A login with settings that the reader lacks skips plan and recall, as it cannot vouch for them."""
    run_sql(base, f"GRANT SELECT ON items TO {LOGIN}; ALTER ROLE {LOGIN} SET hnsw.ef_search = 400")
    skipped = with_status(results(login), Status.SKIP)
    words = "this session has settings that items_reader lacks (hnsw.ef_search): connect as items_reader"
    assert {skipped[name] for name in ("plan", "recall")} == {words}


def test_settings_that_change_no_answer_are_no_matter(base: str, login: str) -> None:
    run_sql(
        base,
        f"GRANT SELECT ON items TO {LOGIN}; ALTER ROLE {LOGIN} SET log_min_duration_statement = 0; "
        f"ALTER ROLE {LOGIN} SET statement_timeout = '1h'",
    )
    outcomes = results(login)
    assert {"plan", "recall"} <= with_status(outcomes, Status.PASS).keys()


def test_options_of_the_client_are_not_the_readers(base: str) -> None:
    outcomes = results(make_conninfo(base, options="-c enable_seqscan=off"))
    assert with_status(outcomes, Status.SKIP).keys() == {"plan", "recall"}


def test_a_setting_of_the_reader_that_the_server_refuses(base: str) -> None:
    """Recall is skipped if the session cannot set a setting of the reader, as ALTER ROLE accepts any value."""
    ask(base, "ALTER ROLE items_reader SET hnsw.ef_search = 100000")
    try:
        skipped = with_status(results(base), Status.SKIP)
    finally:
        ask(base, "ALTER ROLE items_reader RESET hnsw.ef_search")
    assert "items_reader has a setting of hnsw.ef_search that this session cannot set" in skipped["recall"]


def test_timeouts_of_the_login_do_not_end_a_check(base: str) -> None:
    """Regression: a short statement_timeout of the login made checks skip, a transaction_timeout ended the session."""
    show = "SELECT name, setting FROM pg_settings WHERE name ~ '^(statement|transaction|idle_in.*)_timeout' ORDER BY 1"
    named = "SELECT max(name) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"
    options = f"-c statement_timeout=9s -c {ask(base, named)[0][0]}=9s -c idle_in_transaction_session_timeout=9s"
    with connect(make_conninfo(base, options=options)) as connection, check_transaction(connection, Deadline(60), 1):
        timeouts = dict(connection.execute(show).fetchall())
    assert int(timeouts.pop("statement_timeout")) > 9000
    assert set(timeouts.values()) == {"0"}


def test_a_right_that_only_the_query_misses(base: str) -> None:
    """A reader that may read the table and not execute the distance function fails."""
    ask(base, "REVOKE EXECUTE ON FUNCTION cosine_distance(vector, vector) FROM PUBLIC")
    assert failing(base) == {
        "roles": "items_reader lacks EXECUTE on the function public.cosine_distance(public.vector,public.vector)"
    }


@pytest.mark.parametrize(
    ("form", "function"),
    [
        ("half", "public.cosine_distance(public.halfvec,public.halfvec)"),
        ("bits", "public.hamming_distance(bit,bit)"),
    ],
)
def test_a_right_on_the_distance_in_the_index(base: str, form: str, function: str) -> None:
    key, declaration = KEYS[form]
    run_sql(base, f"DROP INDEX items_embedding_hnsw; CREATE INDEX of_form ON items USING hnsw ({key})")
    run_sql(base, f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    contract = declared({"indexes": [{"name": "of_form", **declaration}]})
    assert failing(base, contract, "roles") == {"roles": f"items_reader lacks EXECUTE on the function {function}"}


def test_what_the_server_refuses_the_reader_is_a_failure(base: str) -> None:
    """The reader's own query finds missing rights that no check tests by name."""
    run_sql(
        base,
        "CREATE FUNCTION allowed(text) RETURNS bool LANGUAGE sql STABLE AS 'SELECT true'; "
        "REVOKE EXECUTE ON FUNCTION allowed(text) FROM PUBLIC; ALTER TABLE items ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY p ON items USING (allowed(label)); ALTER ROLE items_reader PASSWORD 'x'",
    )
    words = "the server refuses items_reader: permission denied for function allowed (SQLSTATE 42501)"
    assert failing(make_conninfo(base, user="items_reader", password="x")) == {"roles": words}


def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first of two queries exceed its time each time."""
    within = Deadline.within
    asked: list[Any] = []

    def once(deadline: Deadline, connection: Connection, part: float, work: Callable[[], Any]) -> Any:
        asked.append(work)
        return None if len(asked) % 2 else within(deadline, connection, part, work)

    monkeypatch.setattr(Deadline, "within", once)


def test_a_large_table_is_judged_by_a_sample_that_says_so(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    outcomes = with_status(results(base, CONTRACT, "rows", "vectors"), Status.PASS)
    assert outcomes["rows"] == "about 5,000 rows, by a sample of 100 % of the blocks"
    assert outcomes["vectors"] == "5,000 vectors, by a sample of 100 % of the blocks"


def test_the_ids_of_a_large_table_with_an_index_are_judged_by_one_class(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all of them would take as long as the vectors. Without an index on the ids alone, all are read."""
    monkeypatch.setattr("seed.verify.checks.ids._MOST_ROWS", 1000)
    assert with_status(results(base, CONTRACT, "column"), Status.PASS)["column"].endswith("by one in 64 of the ids")
    ((judged,),) = ask(base, "SELECT min(id) FROM items WHERE hashtext(id::text) & 63 = 0")
    run_sql(base, UNSEEN.format("SELECT id, label, embedding").replace("id = 7", f"id = {judged}"))
    assert failing(base, CONTRACT, "column")["column"] == f"several rows have the id {judged}"


def test_a_sample_fails_only_beyond_doubt(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of a tenth of the blocks fails only if the row count is certainly too low."""
    monkeypatch.setattr("seed.verify.checks.rows._BLOCKS", 10)
    slowly(monkeypatch)
    assert failing(base, CONTRACT, "rows") == {}
    assert failing(base, declared({"rows": 500_000}), "rows").keys() == {"rows"}


def test_too_little_time_ends_the_run(base: str) -> None:
    """A run without time for all checks ends with an error, and skips them."""
    with connect(base) as connection:
        outcomes, error = run_checks(connection, convert(CONTRACT, "of the test"), CHECKS, Deadline(1e-9))
    assert error is not None
    assert "was over before every check was made" in error.message
    assert {result.outcome.status for result in outcomes} == {Status.SKIP}


@pytest.mark.newest
def test_the_time_limit_holds_with_many_tables(base: str) -> None:
    """Regression: with 5,000 tables it took ten times as long to tell the checks that were not made.

    The connection is cut 2 seconds after the limit; then the error would be that the server does not answer.
    """
    contract = json.dumps(declared(tables=[{"name": f"public.t{number}"} for number in range(5000)]))
    done = run(base, "--contract", "-", "--time-limit", "1", stdin=contract)
    *_, summary, error, _remedy = done.stdout.splitlines()
    assert summary.startswith("55,004 checks: ")
    assert error == "error: the time limit of 1 s was over before every check was made"
    assert done.stdout.count("the time limit of 1 s") <= 2, "only the check that it ended may say so, too"


@pytest.mark.parametrize("rows", [1, 2])
def test_recall_of_a_tiny_table(base: str, rows: int) -> None:
    """Regression: a table with one vector was skipped because the time was too short."""
    ask(base, f"DELETE FROM items WHERE id > {rows}")
    ask(base, "VACUUM FULL items")
    results_ = results(base, CONTRACT, "recall")
    if rows == 1:
        words = "no stored vector has a neighbor to find"
        assert with_status(results_, Status.SKIP)["recall"] == words
    else:
        assert with_status(results_, Status.PASS)["recall"].startswith("1.000,")


def test_the_time_of_a_part_does_not_limit_the_rest(base: str) -> None:
    """Regression: after a policy that was computed, every query of the check had its fiftieth of the time."""
    with connect(base) as connection, connection.transaction():
        for work in (lambda: True, lambda: connection.execute("SELECT pg_sleep(60)")):
            Deadline(60).within(connection, 0.001, work)
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_few_dead_rows_are_no_bloat_and_the_limit_is_told(base: str) -> None:
    """A small table has more dead rows than live ones after each update, until autovacuum runs.

    Each change is counted at once: a session's own count can come after that of the next one.
    """
    ask(base, "ALTER TABLE items SET (autovacuum_enabled = off)")
    ten = "INSERT INTO items (label, embedding) SELECT '', array_fill(1, ARRAY[32])::vector FROM generate_series(1, 10)"
    for change in [f"TRUNCATE items; {ten}", *["UPDATE items SET label = 'y'"] * 3]:
        ask(base, f"{change}; SELECT pg_stat_force_next_flush()")
    (result,) = results(base, CONTRACT, "bloat")
    assert result.outcome.message == "30 dead rows beside 10 live ones"
    assert result.outcome.expected == "fewer dead rows than live ones, or than 1,000"
    assert result.outcome.status is Status.PASS


def test_of_a_table_with_several_vector_columns_each_result_names_its_column(base: str) -> None:
    """Regression: the recall of an old and of a new column could not be told apart."""
    contract = declared()
    contract["tables"].append({**contract["tables"][0], "vector": "missing"})
    several = [result.place for result in results(base, contract, "column")]
    assert several == ["public.items.embedding", "public.items.missing"]
    (single,) = results(base, declared(), "column")
    assert (single.place, single.column) == ("public.items", "embedding")


@pytest.mark.newest
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("SELECT 1", {"column": ["missing"], "vectors": ["embedding"]}),
        (
            "ALTER TABLE items DROP CONSTRAINT items_pkey",
            {"column": ["embedding", "missing"], "vectors": ["embedding"]},
        ),
    ],
)
def test_a_failed_column_does_not_hide_the_vectors_of_another(
    base: str, change: str, expected: dict[str, list[str]]
) -> None:
    """Regression: after ids that are not unique, the vectors of no column were looked at."""
    ask(base, f"{change}; ALTER TABLE items ALTER embedding DROP NOT NULL; UPDATE items SET embedding = NULL")
    contract = declared()
    contract["tables"].append({**contract["tables"][0], "vector": "missing"})
    failures: dict[str, list[str]] = {}
    for result in results(base, contract, "column", "vectors"):
        if result.outcome.status is Status.FAIL:
            failures.setdefault(result.name, []).append(str(result.column))
    assert failures == expected


def test_an_index_of_another_access_method_is_checked_like_any(base: str) -> None:
    """Regression: the contract and the check plan knew hnsw and ivfflat only."""
    (index,) = CONTRACT["tables"][0]["indexes"]
    contract = declared({"indexes": [{"name": index["name"], "method": "diskann"}]})
    run_sql(base, f"{DISKANN}; DROP INDEX {index['name']}")
    (missing,) = results(base, contract, "index")
    assert missing.outcome.message == f"the index {index['name']} does not exist"
    run_sql(base, missing.outcome.remedy)
    passed_ = with_status(results(base, contract, "index", "plan"), Status.PASS)
    assert passed_ == {"index": "valid and usable", "plan": f"uses {index['name']}"}


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "in the catalog"])
@pytest.mark.parametrize(
    ("names", "asked"),
    [(["half"], "half"), (["bits"], "bits"), (["half", "bits"], "half"), (["bits", "plain"], "plain")],
)
def test_the_index_gives_the_query_its_form(base: str, names: list[str], asked: str, *, is_declared: bool) -> None:
    """Regression: with an index on a cast alone the plain query was explained and measured, which no index serves.

    ef_search shows which index serves: with 1, the index gives no more than one row.
    """
    run_sql(base, "DROP INDEX items_embedding_hnsw; ALTER ROLE items_reader SET hnsw.ef_search = 1")
    run_sql(base, "".join(f"CREATE INDEX {name} ON items USING hnsw ({KEYS[name][0]});" for name in names))
    indexes = [{"name": name, "method": "hnsw", **KEYS[name][1]} for name in names]
    contract = declared({"indexes": indexes if is_declared else None})
    try:
        with connect(base) as connection:
            outcomes, _ = run_checks(connection, convert(contract, "of the test"), ["plan", "recall"], Deadline(60))
    finally:
        ask(base, "ALTER ROLE items_reader RESET hnsw.ef_search")
    assert with_status(outcomes, Status.FAIL).keys() == {"recall"}
    if is_declared:
        assert with_status(outcomes, Status.PASS) == {"plan": f"uses {asked}"}
