"""The remedies of a column of another type or dimension, run in the situation that they are printed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from pgvector_seed.vectors.scan_settings import SEARCH_SETTINGS
from seed.verify.model import Outcome
from tests.conftest import ask, until
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.verify.helpers import CONTRACT, declared, failing, results, run_sql

SECTION = "Change the dimensions"
EMPTY = "TRUNCATE items; "
ONLY_NULL = "TRUNCATE items; ALTER TABLE items ALTER embedding DROP NOT NULL; INSERT INTO items (label) VALUES ('x'); "
WITHOUT_INDEX = "DROP INDEX items_embedding_hnsw; "


def column(conninfo: str, **table: Any) -> Outcome:
    """Return the outcome of the check column for a contract with these entries of its table."""
    (result,) = results(conninfo, declared(table), "column")
    return result.outcome


HALF = f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE halfvec(32); "
PARTITIONED = """
DROP TABLE items; CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(32)) PARTITION BY HASH (id);
CREATE TABLE items_0 PARTITION OF items FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_cosine_ops);
"""
CAST_AND_BITS = """
CREATE INDEX half ON items USING hnsw ((embedding::halfvec(32)) halfvec_l2_ops);
CREATE INDEX of_bits ON items USING hnsw ((binary_quantize(embedding)::bit(32)) bit_hamming_ops)
"""
RUNNABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "empty, other dimensions": (EMPTY, {"dimensions": 384}),
    "no vector yet": (ONLY_NULL, {"dimensions": 384}),
    "empty, without dimensions": (f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE vector; {EMPTY}", {}),
    "empty, other type": (EMPTY, {"type": "halfvec", "dimensions": 384}),
    "empty, to bits": (EMPTY, {"type": "bit", "dimensions": 384}),
    "empty, from text": (f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE text; {EMPTY}", {}),
    "filled, other type": ("", {"type": "halfvec"}),
    "filled, other type back": (f"{HALF}CREATE INDEX i ON items USING hnsw (embedding halfvec_l2_ops)", {}),
    "filled, indexes on a cast and on bits": (
        f"{WITHOUT_INDEX} {CAST_AND_BITS}",
        {"type": "sparsevec"},
    ),
    "empty partitions": (PARTITIONED, {"type": "halfvec", "dimensions": 384}),
}


@pytest.mark.parametrize("case", RUNNABLE)
def test_the_statement_that_it_prints_works_there(base: str, case: str) -> None:
    statements, table = RUNNABLE[case]
    run_sql(base, statements)
    outcome = column(base, **table)
    assert outcome.remedy.startswith("-- In a migration:\n")
    run_sql(base, outcome.remedy)
    assert column(base, **table).message.startswith(f"embedding {table.get('type', 'vector')}(")
    assert column(base, **table).status == "pass"


@pytest.mark.parametrize(
    ("statements", "table"),
    [
        ("", {"dimensions": 384}),
        ("", {"type": "bit", "dimensions": 32}),
        (f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE text", {}),
    ],
)
def test_filled_rows_are_not_altered(base: str, statements: str, table: dict[str, Any]) -> None:
    """Regression: the remedy for rows of other dimensions was an ALTER, which the server refuses."""
    run_sql(base, statements)
    alter = f"ALTER TABLE items ALTER embedding TYPE {table.get('type', 'vector')}({table.get('dimensions', 32)})"
    with psycopg.connect(base) as connection:
        connection.execute("DROP INDEX IF EXISTS items_embedding_hnsw")
        with pytest.raises((errors.DataException, errors.DatatypeMismatch)):
            connection.execute(alter.encode())
        connection.rollback()
    remedy = column(base, **table).remedy
    assert "ALTER COLUMN" not in remedy
    assert f'docs/migrations.md, "{SECTION}"' in remedy


ALTER = '-- In a migration:\nALTER TABLE "public"."items" ALTER COLUMN "embedding" TYPE vector(32);'


def test_rows_without_dimensions_may_have_the_right_ones(base: str) -> None:
    """Regression: the remedy had a query that gives the number, also if all rows have the same."""
    run_sql(base, f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE vector")
    remedy = column(base, dimensions=32).remedy
    assert remedy == ALTER
    run_sql(base, remedy)
    assert column(base, dimensions=32).status == "pass"


def test_rows_of_other_dimensions_are_told(base: str) -> None:
    run_sql(base, f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE vector")
    assert column(base, dimensions=384).remedy.startswith("The rows have vectors of 32 dimensions.\n")
    run_sql(base, "UPDATE items SET embedding = '[1,2,3]' WHERE id = 1")
    assert column(base).remedy.startswith("The rows have vectors of 3 and 32 dimensions.\n")
    assert SECTION in column(base).remedy


def test_rows_without_dimensions_that_cannot_be_read_are_to_be_asked(base: str, stranger: str) -> None:
    run_sql(base, f"{WITHOUT_INDEX}ALTER TABLE items ALTER embedding TYPE vector")
    remedy = column(stranger).remedy
    assert ask(base, remedy.splitlines()[0]) == [(32,)]
    run_sql(base, remedy)
    assert column(base).status == "pass"


@pytest.fixture
def stranger(base: str) -> Iterator[str]:
    """Yield the conninfo of a login that may not read the table."""
    ask(base, "CREATE ROLE a_stranger LOGIN PASSWORD 'x'")
    yield make_conninfo(base, user="a_stranger", password="x")
    ask(base, "DROP ROLE a_stranger")


def test_who_cannot_see_the_rows_is_told_what_works_for_both(base: str, stranger: str) -> None:
    """The check still fails, though only the catalog can be read, or another session holds the table."""
    run_sql(base, EMPTY)
    assert SECTION in column(stranger, dimensions=384).remedy
    with psycopg.connect(base) as holder:
        holder.execute("LOCK TABLE items")
        outcome = column(base, dimensions=384)
    assert outcome.status == "fail"
    assert SECTION in outcome.remedy


@pytest.mark.parametrize(
    ("privileges", "behind", "first"),
    [
        ("SELECT, UPDATE", 5, "SELECT setval("),
        ("SELECT, USAGE", 5, 'SELECT max(nextval(\'"public"."items_id_seq"\')) FROM generate_series(1, 5);'),
        ("SELECT, USAGE", 2_000_000, "-- As items_owner:"),
        ("SELECT", 5, "-- As items_owner:"),
    ],
)
def test_a_sequence_is_advanced_by_the_login_or_its_owner(
    base: str, stranger: str, privileges: str, behind: int, first: str
) -> None:
    """Regression: the remedy was setval, which only a role with UPDATE may run."""
    run_sql(base, f"GRANT SELECT ON items TO a_stranger; GRANT {privileges} ON SEQUENCE items_id_seq TO a_stranger")
    run_sql(base, f"UPDATE items SET id = 3000000 WHERE id = 5000; SELECT setval('items_id_seq', 3000000 - {behind})")
    try:
        (result,) = results(stranger, CONTRACT, "sequence")
        assert result.outcome.remedy.startswith(first)
        run_sql(base if first.startswith("-- As") else stranger, result.outcome.remedy)
        assert failing(stranger, CONTRACT, "sequence") == {}
    finally:
        ask(base, "DROP OWNED BY a_stranger")


def test_a_sequence_is_widened_by_its_owner(base: str, stranger: str) -> None:
    run_sql(base, "GRANT SELECT ON items TO a_stranger; GRANT SELECT, UPDATE ON SEQUENCE items_id_seq TO a_stranger")
    ask(base, "ALTER SEQUENCE items_id_seq MAXVALUE 5000")
    try:
        (result,) = results(stranger, CONTRACT, "sequence")
    finally:
        ask(base, "DROP OWNED BY a_stranger")
    assert result.outcome.remedy.startswith("-- As items_owner:\nALTER SEQUENCE ")


def test_a_pgvector_that_only_waits_for_its_update(base: str) -> None:
    """The files are newer: the statement is all, and the remedy says who may run it."""
    ask(base, "UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'")
    (result,) = results(base, CONTRACT, "extension")
    assert "-- As a superuser" in result.outcome.remedy
    assert "REINDEX" in result.outcome.remedy
    run_sql(base, result.outcome.remedy)
    assert failing(base, CONTRACT, "extension") == {}


def test_a_pgvector_whose_files_are_too_old(base: str) -> None:
    """After minimumVersion rose above the server's files, the remedy is to install newer ones first."""
    (version,) = ask(base, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")[0]
    (result,) = results(base, declared(extension={"minimum": "99.0"}), "extension")
    assert result.outcome.remedy.startswith(f"The server's files are of pgvector {version}: install 99.0 or later")
    assert "as a superuser: ALTER EXTENSION vector UPDATE;" in result.outcome.remedy


def test_an_index_that_is_being_built_is_waited_for(base: str, stranger: str) -> None:
    """Regression: the build was called interrupted, and the printed REINDEX and the build waited for each other."""
    ask(base, WITHOUT_INDEX)
    build = "CREATE INDEX CONCURRENTLY items_embedding_hnsw ON items USING hnsw (embedding vector_cosine_ops)"
    building = "SELECT pid FROM pg_stat_progress_create_index WHERE index_relid = to_regclass('items_embedding_hnsw')"
    with closing(psycopg.connect(base, autocommit=True)) as builder, psycopg.connect(base) as holder:
        holder.execute("LOCK TABLE items IN ROW EXCLUSIVE MODE")
        builder.pgconn.send_query(build.encode())
        ((pid,),) = until(lambda: ask(base, building))
        for login, verb in ((base, "is"), (stranger, "may be")):
            (result,) = results(login, CONTRACT, "index")
            words = f"public.items_embedding_hnsw {verb} being built, by server process {pid}"
            assert (result.outcome.message, result.outcome.remedy) == (words, "Wait until it is built.")


def of_stack(**changes: Any) -> dict[str, Any]:
    """Return a contract whose index the stack declares."""
    index = {"name": "items_embedding_hnsw", "method": "hnsw", "column": "embedding", **changes}
    return declared({"indexes": [index]})


BUILD = "To build it, as the table's owner: python -m seed index build items_embedding_hnsw"


@pytest.mark.parametrize("changes", [{}, {"as": "halfvec"}, {"bits": True}])
def test_an_index_of_the_stack_that_is_absent_is_built_by_a_command(base: str, changes: dict[str, Any]) -> None:
    """Regression: the statement of the remedy would have built it beside the stack."""
    ask(base, WITHOUT_INDEX)
    outcomes = {result.name: result.outcome for result in results(base, of_stack(**changes), "index", "plan", "recall")}
    words = "the index items_embedding_hnsw is absent: it has not been built yet"
    assert (outcomes["index"].message, outcomes["index"].remedy) == (words, BUILD)
    assert {outcomes[name].message for name in ("plan", "recall")} == {"after index, which failed"}


def test_the_command_quotes_a_name(base: str) -> None:
    (result,) = results(base, of_stack(name="it's %s"), "index")
    assert result.outcome.remedy.endswith("""python -m seed index build 'it'"'"'s %s'""")


@pytest.mark.parametrize(
    ("change", "changes", "difference"),
    [
        ("SELECT 1", {"parameters": {"m": 8}}, "has m = 16"),
        ("SELECT 1", {"as": "halfvec"}, "is on embedding"),
        ("SELECT 1", {"method": "ivfflat"}, "is hnsw"),
        (
            f"{WITHOUT_INDEX} CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_l2_ops)",
            {},
            "serves <->, not <=>",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_embedding_hnsw'::regclass",
            {},
            "is not valid: its build was interrupted, or a partition lacks it",
        ),
    ],
)
def test_an_index_of_the_stack_that_differs_is_built_by_the_command(
    base: str, change: str, changes: dict[str, Any], difference: str
) -> None:
    ask(base, change)
    (result,) = results(base, of_stack(**changes), "index")
    words = f"public.items_embedding_hnsw {difference}"
    assert (result.outcome.message, result.outcome.remedy) == (words, BUILD)


def test_the_build_of_an_index_of_the_stack_is_waited_for(base: str) -> None:
    """While it is built it has another name. An invalid one that no process builds does not count."""
    build = "CREATE INDEX CONCURRENTLY items_embedding_hnsw_new ON items USING hnsw (embedding vector_cosine_ops)"
    building = (
        "SELECT pid FROM pg_stat_progress_create_index WHERE index_relid = to_regclass('items_embedding_hnsw_new')"
    )
    with closing(psycopg.connect(base, autocommit=True)) as builder, psycopg.connect(base) as holder:
        holder.execute("LOCK TABLE items IN ROW EXCLUSIVE MODE")
        builder.pgconn.send_query(build.encode())
        ((pid,),) = until(lambda: ask(base, building))
        (other,) = results(base, of_stack(parameters={"m": 8}), "index")
        successor = f"public.items_embedding_hnsw_new is being built, by server process {pid}"
        assert other.outcome.message == f"public.items_embedding_hnsw has m = 16; {successor}"
        assert failing(base, of_stack(), "index") == {}, "the index is as declared"
        ask(base, "ALTER INDEX items_embedding_hnsw RENAME TO items_embedding_other")
        (absent,) = results(base, of_stack(), "index")
        assert absent.outcome.message == f"the index items_embedding_hnsw is absent; {successor}"
        assert other.outcome.remedy == absent.outcome.remedy == "Wait until it is built."
        ask(base, f"SELECT pg_terminate_backend({pid})")
        until(lambda: not ask(base, building))
        (left,) = results(base, of_stack(), "index")
        assert left.outcome.remedy == BUILD


def test_the_build_of_a_partition_is_waited_for(base: str) -> None:
    """The index of a partition has another name than that of its table."""
    ask(base, f"{PARTITIONED} ALTER INDEX items_embedding_hnsw RENAME TO items_embedding_other")
    ask(base, "CREATE INDEX items_embedding_hnsw_new ON ONLY items USING hnsw (embedding vector_cosine_ops)")
    build = "CREATE INDEX CONCURRENTLY part ON items_0 USING hnsw (embedding vector_cosine_ops)"
    building = "SELECT pid FROM pg_stat_progress_create_index WHERE index_relid = to_regclass('part')"
    assert failing(base, of_stack(), "index").keys() == {"index"}
    with closing(psycopg.connect(base, autocommit=True)) as builder, psycopg.connect(base) as holder:
        holder.execute("LOCK TABLE items_0 IN ROW EXCLUSIVE MODE")
        builder.pgconn.send_query(build.encode())
        ((pid,),) = until(lambda: ask(base, building))
        (result,) = results(base, of_stack(), "index")
    words = f"public.items_embedding_hnsw_new is being built, by server process {pid}"
    assert result.outcome.message == f"the index items_embedding_hnsw is absent; {words}"


TOO_WIDE = "hnsw takes at most 2,000 dimensions of vector, and the column has 3,072. "
NO_CLASS = "the access method hnsw has no operator class for jaccard on halfvec. "


@pytest.mark.parametrize("column_of_stack", [{}, {"column": "embedding"}], ids=["by hand", "of the stack"])
def test_an_index_that_is_impossible_names_its_limit(base: str, column_of_stack: dict[str, str]) -> None:
    """Regression: the remedy was a statement that the server refuses."""
    ask(base, f"{WITHOUT_INDEX} TRUNCATE items; ALTER TABLE items ALTER embedding TYPE vector(3072)")
    index = {"name": "wide", "method": "hnsw", **column_of_stack}
    (result,) = results(base, declared({"dimensions": 3072, "indexes": [index]}), "index")
    assert result.outcome.remedy == f"{TOO_WIDE}Use an index with as: halfvec (4,000) or bits: true (64,000)."
    other = {"dimensions": 3072, "metric": "jaccard", "indexes": [index | {"as": "halfvec"}]}
    (result,) = results(base, declared(other), "index")
    assert result.outcome.remedy == f"{NO_CLASS}An index on halfvec serves cosine, ip, l1, l2."


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
@pytest.mark.parametrize("form", [{"as": "halfvec"}, {"bits": True}], ids=["halfvec", "bits"])
def test_a_wide_column_is_indexed_by_the_statement(base: str, method: str, form: dict[str, Any]) -> None:
    """Between 2,001 and 4,000 dimensions."""
    ask(base, f"{WITHOUT_INDEX} TRUNCATE items; ALTER TABLE items ALTER embedding TYPE vector(2001)")
    contract = declared({"dimensions": 2001, "indexes": [{"name": "wide", "method": method, **form}]})
    (result,) = results(base, contract, "index")
    run_sql(base, result.outcome.remedy)
    assert failing(base, contract, "index") == {}


WEAK = "hnsw (embedding vector_cosine_ops) WITH (m = 2, ef_construction = 4)"
REBUILT = f"{WITHOUT_INDEX}CREATE INDEX items_embedding_hnsw ON items USING {{}};"
RECALL = {"recall": {"k": 10, "minimum": 1}}
IVFFLAT = {"indexes": [{"name": "items_embedding_hnsw", "method": "ivfflat"}]}


@pytest.mark.parametrize(
    ("index", "table", "setting", "values"),
    [
        (WEAK, {}, "hnsw.ef_search", ("20", "40")),
        ("ivfflat (embedding vector_cosine_ops) WITH (lists = 100)", IVFFLAT, "ivfflat.probes", ("1", "2")),
    ],
)
def test_a_low_recall_is_raised_by_the_setting_of_the_index(
    base: str, index: str, table: dict[str, Any], setting: str, values: tuple[str, str]
) -> None:
    """Regression: settings and parameters of both access methods were named, whatever the index, and no command."""
    current, twice = values
    (dbname,) = ask(base, "SELECT quote_ident(current_database())")[0]
    run_sql(base, f"{REBUILT.format(index)} ALTER DATABASE {dbname} SET {setting} = {current}")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, f'ROLE "items_reader" IN DATABASE {dbname}'),
        ({"roles": {}}, f"DATABASE {dbname}"),
    ]
    for changes, who in cases:
        (result,) = results(base, declared(table | RECALL, **changes), "recall")
        _load, command, comment = result.outcome.remedy.splitlines()
        assert command == f"ALTER {who} SET {setting} = {twice};"
        assert comment.startswith("-- If that is not enough, rebuild the index with ")
        run_sql(base, result.outcome.remedy)
        ask(base, f'ALTER ROLE "items_reader" IN DATABASE {dbname} RESET {setting}')
    assert ask(base, f"SELECT current_setting('{setting}')") == [(twice,)]


ON_BITS = "hnsw ((binary_quantize(embedding)::bit(32)) bit_hamming_ops)"


@pytest.mark.parametrize(("current", "raised"), [(20, 40), (40, 50), (50, None)])
def test_recall_of_bits_is_raised_up_to_the_rows_that_the_query_takes(
    base: str, current: int, raised: int | None
) -> None:
    """More of them would not be looked at, so the remedy is another index."""
    run_sql(base, f"{REBUILT.format(ON_BITS)} ALTER ROLE items_reader SET hnsw.ef_search = {current}")
    try:
        indexes = [{"name": "items_embedding_hnsw", "method": "hnsw", "bits": True}]
        (result,) = results(base, declared({"indexes": indexes, "recall": {"k": 5, "minimum": 1}}), "recall")
    finally:
        ask(base, "ALTER ROLE items_reader RESET hnsw.ef_search")
    another = "se an index on the cast (as: halfvec) or on the column: bits tell too little of these vectors."
    if raised:
        assert f" SET hnsw.ef_search = {raised};\n-- If that is not enough, u{another}" in result.outcome.remedy
    else:
        assert result.outcome.remedy == f"U{another}"


def test_recall_is_raised_by_a_login_that_is_no_superuser(base: str, stranger: str) -> None:
    """The server refuses it the setting until pgvector is loaded in its session."""
    run_sql(base, "ALTER ROLE a_stranger CREATEROLE; GRANT items_reader TO a_stranger WITH ADMIN OPTION")
    run_sql(base, REBUILT.format(WEAK))
    (result,) = results(base, declared(RECALL), "recall")
    command = result.outcome.remedy.splitlines()[1]
    with pytest.raises(errors.InsufficientPrivilege):
        ask(stranger, command)
    run_sql(stranger, result.outcome.remedy)


def test_a_declared_setting_is_raised_in_the_stack(base: str) -> None:
    """Regression: the statement of the remedy made the check of the declared settings fail."""
    run_sql(base, f"{REBUILT.format(WEAK)} ALTER ROLE items_reader SET hnsw.ef_search = 20")
    try:
        (result,) = results(base, declared(RECALL, readerSettings={"hnsw.ef_search": 20}), "recall")
    finally:
        ask(base, "ALTER ROLE items_reader RESET hnsw.ef_search")
    expected = "Set hnsw.ef_search to 40 in the stack's readerSettings, and deploy again."
    assert result.outcome.remedy.splitlines()[0] == expected


def test_a_setting_at_its_maximum_is_not_raised(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = SEARCH_SETTINGS["hnsw"]._replace(most=40)  # at the real one, 1000, this small table has no low recall
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw", smaller)
    run_sql(base, REBUILT.format(WEAK))
    (result,) = results(base, declared(RECALL), "recall")
    assert result.outcome.remedy == "Rebuild the index with larger m and ef_construction."


def test_a_low_recall_of_another_access_method_has_no_command(base: str) -> None:
    run_sql(base, REBUILT.format(WEAK))
    for indexes in ([{"name": "items_embedding_hnsw"}], []):
        (result,) = results(base, declared({"indexes": indexes} | RECALL), "recall")
        assert "ALTER" not in result.outcome.remedy
        assert "hnsw" not in result.outcome.remedy


def test_an_index_of_another_metric_may_be_right(base: str) -> None:
    """Regression: only the index was to be changed, though the declared metric may be the mistake."""
    ask(base, f"{WITHOUT_INDEX}CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_l2_ops)")
    (result,) = results(base, CONTRACT, "index")
    words = "-- Or, if the index is right: set metric: l2 for public.items in the stack's tables, and deploy again."
    assert result.outcome.remedy.splitlines()[-1] == words
    assert failing(base, declared({"metric": "l2"}), "index") == {}
    contract = declared()
    contract["tables"].append({**contract["tables"][0], "vector": "another", "indexes": []})
    index, _ = results(base, contract, "index")
    assert "metric:" not in index.outcome.remedy, "a stack's table has one metric for both columns"


@pytest.mark.parametrize("vector", ["array_fill(0, ARRAY[32])", "NULL"])
def test_a_query_that_only_finds_rows_says_so(base: str, vector: str) -> None:
    """Regression: a query stood below "to fix", and fixed nothing."""
    ask(base, f"ALTER TABLE items ALTER embedding DROP NOT NULL; UPDATE items SET embedding = {vector} WHERE id = 1")
    (result,) = results(base, CONTRACT, "vectors")
    told, query = result.outcome.remedy.splitlines()
    assert told == "-- Embed these rows again, or delete them. To find them:"
    assert [row[0] for row in ask(base, query)] == [1]
