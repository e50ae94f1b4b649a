"""The declared indexes of a deployment: promised, built once the rows are there, and dropped when removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import InputError, RefusedError, WrongResultError
from pgvector_seed.migrate.adopt import baseline, repair
from pgvector_seed.migrate.contract import convert
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.index_states import read_declared, states
from pgvector_seed.migrate.indexes import BuildOptions, BuildResult, build, drop
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.migrate.helpers import ledger_of, run, undo_all, write

pytestmark = pytest.mark.newest

NAME = "items_embedding_hnsw"
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3));"
INDEX = "CREATE INDEX {} ON items USING hnsw (embedding vector_cosine_ops) WITH (m = {});"
NAMES = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'items_emb%' ORDER BY 1"
ROWS = "INSERT INTO items SELECT i, format('[%s,1,%s]', i, i % 7)::vector FROM generate_series({}, {}) i"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the migration of the table items."""
    write(tmp_path, a1_up=TABLE, a1_down="DROP TABLE items;")
    return tmp_path


def declared(*indexes: dict[str, Any], rows: int | None = 100, **facts: Any) -> Declaration:
    """Return a declaration of items with these indexes, or with one that has m = 8."""
    index = indexes or [{"method": "hnsw", "parameters": {"m": 8}}]
    table: dict[str, Any] = {"metric": "cosine", "index": index, **facts}
    return declare(tables={"items": table if rows is None else {**table, "rows": rows}})


def build_all(database: str, **options: Any) -> BuildResult:
    with connect(database) as connection:
        return build(connection, lambda _line: None, BuildOptions(**options))


def names(database: str) -> list[str]:
    return [name for (name,) in ask(database, NAMES)]


def promised(database: str) -> list[tuple[str, Any]]:
    """Return name and parameters of the indexes that the recorded contract promises."""
    ledger = ledger_of(database)
    assert ledger is not None
    (table,) = convert(ledger.contract, "of the test").tables or ()
    return [(index.name, dict(index.parameters or {})) for index in table.indexes or ()]


def test_an_index_waits_for_the_declared_rows(database: str, folder: Path) -> None:
    run(database, folder, declared())
    assert promised(database) == [(NAME, {"m": 8})], "before it is built"
    ask(database, ROWS.format(1, 99))
    (waiting,) = build_all(database).states
    assert (waiting.waits, waiting.reason, names(database)) == (True, "waits: items has 99 of 100 rows", [])
    ask(database, ROWS.format(100, 100))
    result = build_all(database)
    assert (result.built, names(database), result.states[0].is_ready) == ([NAME], [NAME], True)
    assert build_all(database).built == []


@pytest.mark.parametrize("rows", [None, 0])
def test_an_index_of_a_table_without_declared_rows_waits_for_one(database: str, folder: Path, rows: int | None) -> None:
    run(database, folder, declared(rows=rows))
    assert build_all(database).built == ([] if rows is None else [NAME])
    ask(database, ROWS.format(1, 1))
    build_all(database)
    assert names(database) == [NAME]


def test_a_later_migration_does_not_make_it_the_migrations(database: str, folder: Path) -> None:
    """An index that was built as declared is not promised as a migration's, and is dropped when it is removed."""
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    write(folder, b2_up="CREATE TABLE others (id bigint);", b2_down="DROP TABLE others;")
    run(database, folder, declared())
    assert promised(database) == [(NAME, {"m": 8})]
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    assert promised(database) == []
    assert (build_all(database).dropped, names(database)) == ([NAME], [])
    assert ledger_of(database).indexes == ()  # type: ignore[union-attr]


def test_a_removed_index_stays_until_the_others_are_ready(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    other = {"method": "hnsw", "name": "items_embedding_other"}
    run(database, folder, declared(other, rows=200))
    assert (build_all(database).dropped, names(database)) == ([], [NAME])
    ask(database, ROWS.format(101, 200))
    result = build_all(database)
    assert (result.built, result.dropped, names(database)) == ([other["name"]], [NAME], [other["name"]])


def test_another_definition_replaces_the_index(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    run(database, folder, declared({"method": "hnsw", "parameters": {"m": 4}}))
    assert build_all(database).built == [NAME]
    assert ask(database, f"SELECT reloptions FROM pg_class WHERE relname = '{NAME}'") == [(["m=4"],)]
    assert names(database) == [NAME]


def test_the_name_of_a_migrations_index_is_refused_unless_both_are_equal(database: str, folder: Path) -> None:
    write(folder, b2_up=INDEX.format(NAME, 8), b2_down=f"DROP INDEX {NAME};")
    with pytest.raises(InputError, match=f"a migration makes another index with the name {NAME}"):
        run(database, folder, declared({"method": "hnsw", "parameters": {"m": 4}}))
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    assert (build_all(database).dropped, names(database)) == ([], [NAME]), "it stays the migration's"


def test_a_column_is_needed_if_there_are_several(database: str, folder: Path) -> None:
    write(folder, b2_up="ALTER TABLE items ADD title vector(3);", b2_down="ALTER TABLE items DROP title;")
    with pytest.raises(InputError, match="which column\\? It has embedding, title"):
        run(database, folder, declared())
    with pytest.raises(InputError, match="there is no vector column titel"):
        run(database, folder, declared({"method": "hnsw", "column": "titel"}))
    run(database, folder, declared({"method": "hnsw", "column": "title"}))
    (table, other) = convert(ledger_of(database).contract, "").tables or ()  # type: ignore[union-attr]
    assert [index.name for index in (*(table.indexes or ()), *(other.indexes or ()))] == ["items_title_hnsw"]


def test_two_indexes_need_two_names(database: str, folder: Path) -> None:
    with pytest.raises(InputError, match="two indexes have the name items_embedding_hnsw"):
        run(database, folder, declared({"method": "hnsw"}, {"method": "hnsw", "bits": True}))


def test_baseline_and_repair_leave_declared_indexes_out(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    (folder / "0001_a.up.sql").write_text(TABLE + " -- the table")
    with connect(database) as connection:
        assert repair(connection, load(folder), "public", "0001_a", lambda _line: None)
    ask(database, "DROP SCHEMA pgvector_seed CASCADE")
    with connect(database) as connection:
        assert baseline(connection, load(folder), declared(), "0001_a", lambda _line: None) == ["0001_a"]
    assert (build_all(database).built, names(database)) == ([], [NAME]), "everything is found built"


def test_an_index_that_was_dropped_is_built_again(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    with connect(database) as connection:
        assert drop(connection, NAME, lambda _line: None)
        assert not drop(connection, NAME, lambda _line: None)
        with pytest.raises(InputError, match="the stack declares no index items_pkey"):
            drop(connection, "items_pkey", lambda _line: None)
    assert build_all(database).built == [NAME]


def test_a_destroy_takes_the_index_with_its_table(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    undo_all(database, folder)
    assert names(database) == []


def test_a_database_without_a_declaration_names_the_next_command(database: str) -> None:
    with pytest.raises(InputError, match="this database has no ledger, so no index is declared"):
        build_all(database)


ORDERS = f"CREATE TABLE orders (id bigint, at date); CREATE INDEX {NAME} ON orders (at);"
OTHER = {"method": "hnsw", "name": "other"}


def test_a_name_of_another_table_is_refused_and_never_dropped(database: str, folder: Path) -> None:
    """Regression: the name was recorded before it was refused, and dropped once another one was declared."""
    write(folder, b2_up=ORDERS, b2_down="DROP TABLE orders;")
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    with pytest.raises(RefusedError, match="is an index on another table"):
        build_all(database)
    run(database, folder, declared(OTHER))
    assert build_all(database).built == ["other"]
    assert ask(database, f"SELECT to_regclass('{NAME}') IS NULL") == [(False,)]


def test_an_index_made_by_hand_after_a_drop_is_not_ours(database: str, folder: Path) -> None:
    """Regression: a name stayed recorded after `index drop`, and any index that got it was dropped."""
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    with connect(database) as connection:
        drop(connection, NAME, lambda _line: None)
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    ask(database, INDEX.format(NAME, 8))
    assert (build_all(database).dropped, names(database)) == ([], [NAME])


def test_a_name_that_a_constraint_has_blocks_nothing(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    ask(database, f"DROP INDEX {NAME}; CREATE TABLE others (id int CONSTRAINT {NAME} PRIMARY KEY)")
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    assert build_all(database).dropped == []
    assert ledger_of(database).indexes == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", ["_new", "_old"])
def test_a_migrations_index_may_not_have_a_name_that_a_replacement_needs(
    database: str, folder: Path, suffix: str
) -> None:
    """Regression: build dropped it."""
    write(folder, b2_up=INDEX.format(NAME + suffix, 8), b2_down=f"DROP INDEX {NAME}{suffix};")
    with pytest.raises(InputError, match=f"a migration makes another index with the name {NAME}{suffix}"):
        run(database, folder, declared())


def test_a_partial_index_of_a_migration_is_not_equal(database: str, folder: Path) -> None:
    """Regression: it was taken for the declared one, and replaced."""
    partial = INDEX.format(NAME, 8).replace(";", " WHERE id > 5;")
    write(folder, b2_up=partial, b2_down=f"DROP INDEX {NAME};")
    with pytest.raises(InputError, match="a migration makes another index"):
        run(database, folder, declared())
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    assert promised(database) == [], "verify would fail: it does not serve the whole table"


def test_two_names_that_differ_by_a_suffix(database: str, folder: Path) -> None:
    """Regression: each build dropped the one for the replacement of the other."""
    both = [{"method": "hnsw", "name": "x"}, {"method": "hnsw", "name": "x_new"}]
    with pytest.raises(InputError, match="two indexes have the name x or x_new"):
        run(database, folder, declared(*both))


def test_a_new_column_waits_for_its_vectors(database: str, folder: Path) -> None:
    """Regression: the rows of the table counted, so the index was built on NULLs, before the load."""
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    write(folder, b2_up="ALTER TABLE items ADD v2 vector(4);", b2_down="ALTER TABLE items DROP v2;")
    of_both = [{"method": "hnsw", "column": column} for column in ("embedding", "v2")]
    run(database, folder, declared(*of_both))
    assert [(state.waits, state.reason) for state in build_all(database).states if not state.is_ready] == [
        (True, "waits: items has 0 of 100 rows")
    ]


def test_an_emptied_table_waits_before_its_index_is_replaced(database: str, folder: Path) -> None:
    """Regression: an index of IVFFlat was rebuilt without rows to take its lists from."""
    run(database, folder, declared({"method": "ivfflat", "parameters": {"lists": 2}}))
    ask(database, ROWS.format(1, 100))
    build_all(database)
    ask(database, "TRUNCATE items")
    run(database, folder, declared({"method": "ivfflat", "parameters": {"lists": 3}}))
    (state,) = build_all(database).states
    assert (state.waits, names(database)) == (True, ["items_embedding_ivfflat"])


def test_a_killed_build_that_is_no_longer_declared_is_dropped(database: str, folder: Path) -> None:
    """Regression: NAME_new stayed for ever."""
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    build_all(database)
    ask(database, f"ALTER INDEX {NAME} RENAME TO {NAME}_new")
    run(database, folder, declare(tables={"items": {"metric": "cosine"}}))
    assert build_all(database).dropped == [NAME]
    assert ask(database, NAMES) == []


def test_a_view_in_the_place_of_the_table_is_not_read(database: str, folder: Path) -> None:
    """Regression: its function ran with the rights of the login that builds."""
    run(database, folder, declared())
    ask(database, "CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'it ran'; END$$")
    ask(database, "DROP TABLE items; CREATE VIEW items AS SELECT evil() AS id, '[1,2,3]'::vector AS embedding")
    with pytest.raises(InputError, match=r"the table public\.items does not exist"):
        build_all(database)


def test_the_policies_of_another_owners_table_are_not_run(database: str, folder: Path) -> None:
    run(database, folder, declared())
    ask(database, "CREATE FUNCTION evil() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'it ran'; END$$")
    ask(database, "DROP ROLE IF EXISTS reads; CREATE ROLE reads LOGIN PASSWORD 'r'")
    ask(database, "GRANT SELECT ON items TO reads; GRANT USAGE ON SCHEMA pgvector_seed TO reads")
    ask(database, "GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed TO reads")
    ask(database, "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON items USING (evil())")
    ask(database, "INSERT INTO items VALUES (1, '[1,2,3]')")
    reader = make_conninfo(database, user="reads", password="r")
    with connect(reader) as connection, pytest.raises(WrongResultError, match="row-level security"):
        states(connection, read_declared(connection))


def test_a_missing_table_hides_no_other_index(database: str, folder: Path) -> None:
    """An index whose table is gone is told after the others are built."""
    write(folder, b2_up="CREATE TABLE docs (id bigint, at vector(3));", b2_down="DROP TABLE docs;")
    tables = {name: {"metric": "cosine", "index": [{"method": "hnsw"}]} for name in ("docs", "items")}
    run(database, folder, declare(tables=tables))
    ask(database, ROWS.format(1, 100) + "; ALTER TABLE docs RENAME TO pages")
    with pytest.raises(InputError, match=r"the table public\.docs does not exist"):
        build_all(database)
    assert names(database) == [NAME]
    (folder / "0001_a.up.sql").write_text(TABLE + " -- the table")
    with connect(database) as connection, pytest.raises(InputError, match="it has no vector column"):
        repair(connection, load(folder), "public", "0001_a", lambda _line: None)
