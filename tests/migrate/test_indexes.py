"""The declared indexes of a deployment: promised, built once the rows are there, and dropped when removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.adopt import baseline, repair
from pgvector_seed.migrate.contract import convert
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.indexes import BuildOptions, BuildResult, build, drop
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare
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
    assert ledger_of(database).indexes == []  # type: ignore[union-attr]


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
