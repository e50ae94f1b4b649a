"""``python -m seed load``: what it stores, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import install_package
from pgvector_seed.data.formats import format_of
from tests.conftest import ask, pg_variables
from tests.data.helpers import WORDS, load, make_table, same, save, stored, vectors, write_csv, write_jsonl
from tests.e2e.conftest import readme_block, run
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

ROWS = [
    {"id": 2, "embedding": [0.5, 1.5, -2.0], "title": 'two "2",\nlines', "tags": {"a": [1, None]}},
    {"id": 1, "embedding": [0.1, 0.2, 0.3], "title": None, "tags": "text"},
]


@pytest.fixture
def table(database: str) -> str:
    """Return the conninfo of a database with the empty table items (id, embedding of 3 dimensions)."""
    make_table(database)
    return database


def test_npy_with_ids(table: str, tmp_path: Path) -> None:
    """The keys come from a second file, and a second run changes nothing."""
    values = vectors(1000)
    words = [
        save(tmp_path / "v.npy", values),
        "--table",
        "items",
        "--ids",
        save(tmp_path / "ids.npy", np.arange(1000) + 1),
    ]
    assert "1,000 rows copied, 0 changed, 0 unchanged" in load(table, *words)
    assert same(table, values)
    before = ask(table, "SELECT pg_current_wal_insert_lsn()")
    assert "0 rows copied, 0 changed, 1,000 unchanged" in load(table, *words)
    assert "0 rows copied, 0 changed, 1,000 unchanged" in load(table, *words, "--keep")
    written = ask(table, f"SELECT pg_current_wal_insert_lsn() - '{before[0][0]}'")[0][0]
    assert written < 100_000, "unchanged rows are not written again"


def test_fewer_keys_than_lines(table: str, tmp_path: Path) -> None:
    """Regression: a text file with more rows than --ids has keys is refused, without a traceback."""
    file = write_jsonl(tmp_path / "a.jsonl", [{"embedding": [1, 2, 3]}] * 3)
    keys = save(tmp_path / "ids.npy", np.arange(2))
    assert "there are 2 keys, and more rows" in load(table, file, "--table", "items", "--ids", keys, code=2)
    assert stored(table) == {}


def test_more_keys_than_lines(table: str, tmp_path: Path) -> None:
    """Regression: a text file with fewer rows than --ids has keys was accepted."""
    file = write_jsonl(tmp_path / "a.jsonl", [{"embedding": [1, 2, 3]}] * 3)
    keys = save(tmp_path / "ids.npy", np.arange(5))
    assert "there are 5 keys, and 3 rows" in load(table, file, "--table", "items", "--ids", keys, code=2)
    assert [*stored(table)] == [0, 1, 2]


def test_a_view_is_named(table: str, tmp_path: Path) -> None:
    """Regression: for a view, the message was that there is no table."""
    ask(table, "CREATE VIEW shown AS SELECT * FROM items")
    file = save(tmp_path / "v.npy", vectors(2))
    assert "public.shown is not a table" in load(table, file, "--table", "shown", "--number-from", "1", code=2)


@pytest.mark.parametrize("layout", ["C", "F", "big-endian", "float64", "float16", "int8"])
def test_every_layout_of_an_array(table: str, tmp_path: Path, layout: str) -> None:
    """Fortran order, another byte order and other types of numbers give the same vectors."""
    values = np.round(vectors(50) * 100) + 0  # JSON has no zero with a sign
    types = {"big-endian": ">f4", "float64": "f8", "float16": "f2", "int8": "i1"}
    array = np.asfortranarray(values) if layout == "F" else values.astype(types.get(layout, "f4"))
    load(table, save(tmp_path / "v.npy", array), "--table", "items", "--number-from", "1")
    assert same(table, values)


def test_json_lines_and_csv_with_other_columns(database: str, tmp_path: Path) -> None:
    """Both formats fill text and jsonb; what one has loaded, the other finds unchanged."""
    ask(database, "CREATE TABLE items (id int PRIMARY KEY, embedding vector(3), title text, tags jsonb)")
    assert "2 rows copied" in load(database, write_jsonl(tmp_path / "a.jsonl", ROWS), "--table", "items")
    assert ask(database, "SELECT id, title, tags FROM items ORDER BY id") == [
        (1, None, "text"),
        (2, 'two "2",\nlines', {"a": [1, None]}),
    ]
    cells = [{**row, "embedding": json.dumps(row["embedding"]), "tags": json.dumps(row["tags"])} for row in ROWS]
    assert "2 unchanged" in load(database, write_csv(tmp_path / "a.csv", cells), "--table", "items")


def test_the_types_of_other_columns(database: str, tmp_path: Path) -> None:
    """Text becomes what its column holds, and a second run compares it after the same conversion."""
    ask(
        database,
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE items (key uuid, part smallint, embedding halfvec(2), "
        "price numeric(6, 2), at timestamptz, day date, good boolean, mood mood, raw bytea, size real, "
        "names text[], code char(5), PRIMARY KEY (key, part))",
    )
    row = {
        "key": "6f1c1f6e-6f0b-4f5e-9b1a-0a4c2c5f7a10",
        "part": 3,
        "embedding": [1, 0.5],
        "price": 12.5,
        "at": "2026-01-02T03:04:05+01:00",
        "day": "2026-01-02",
        "good": True,
        "mood": "glad",
        "raw": "\\x00ff",
        "size": 0.1,
        "names": ["a", None, "b"],
        "code": "ab",
    }
    file = write_jsonl(tmp_path / "a.jsonl", [row])
    load(database, file, "--table", "items")
    columns = "price::text, at = '2026-01-02 02:04:05+00', day::text, good, mood::text, raw, size::text, names, code"
    assert ask(database, f"SELECT {columns} FROM items") == [
        ("12.50", True, "2026-01-02", True, "glad", b"\x00\xff", "0.1", ["a", None, "b"], "ab   ")
    ]
    assert "1 unchanged" in load(database, file, "--table", "items")


def test_another_value_is_refused_replaced_or_kept(table: str, tmp_path: Path) -> None:
    values = vectors(100)
    file = save(tmp_path / "v.npy", values)
    words = ["--table", "items", "--number-from", "1"]
    load(table, file, *words)
    other = values.copy()
    other[41, 1] += 1
    changed = save(tmp_path / "w.npy", other)
    output = load(table, changed, *words, code=1)
    assert "w.npy, row 42 (id 42): public.items has other values for this key" in output
    assert same(table, values)
    assert "0 changed, 100 unchanged" in load(table, changed, *words, "--keep")
    assert same(table, values)
    assert "1 changed, 99 unchanged" in load(table, changed, *words, "--replace")
    assert same(table, other)


def test_the_sign_of_a_zero_is_a_difference(table: str, tmp_path: Path) -> None:
    """Vectors are compared bit by bit, not by their operator."""
    ask(table, "INSERT INTO items VALUES (1, '[0,1,2]')")
    file = save(tmp_path / "v.npy", np.array([[-0.0, 1, 2]], np.float32))
    assert "other values" in load(table, file, "--table", "items", "--number-from", "1", code=1)


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
def test_a_stored_vector_of_other_dimensions_is_a_difference(database: str, tmp_path: Path, type_: str) -> None:
    """In a column without dimensions, some stored vectors may be shorter, and others NULL."""
    ask(database, f"CREATE TABLE items (id int PRIMARY KEY, embedding {type_})")
    ask(database, "INSERT INTO items VALUES (1, '[1,2]'), (2, NULL), (3, '[3,3,3]')")
    words = [save(tmp_path / "v.npy", np.array([[n] * 3 for n in (1, 2, 3)])), "--table", "items", "--number-from", "1"]
    assert "row 1 (id 1): public.items has other values" in load(database, *words, code=1)
    assert "2 changed, 1 unchanged" in load(database, *words, "--replace")
    assert stored(database) == {n: [n] * 3 for n in (1, 2, 3)}


@pytest.mark.parametrize("step", [1, 2, 7, -1, -7])
@pytest.mark.parametrize("type_", ["smallint", "bigint"])
def test_rows_are_compared_by_a_range_of_keys_or_one_by_one(
    database: str, tmp_path: Path, step: int, type_: str
) -> None:
    """Missing, equal, NULL, other and shorter vectors are told apart, also beside other keys in the table's range."""
    ask(database, f"CREATE TABLE items (id {type_} PRIMARY KEY, embedding vector)")
    values, ids = vectors(50), np.arange(50) * step - 20
    words = [save(tmp_path / "v.npy", values), "--table", "items", "--ids", save(tmp_path / "ids.npy", ids)]
    load(database, *words)
    if abs(step) > 1:
        ask(database, "INSERT INTO items SELECT id + 1, '[9,9,9]' FROM items")
    ask(database, f"DELETE FROM items WHERE id = ANY ('{{{ids[3]},{ids[30]}}}')")
    ask(database, f"UPDATE items SET embedding = NULL WHERE id = {ids[10]}")
    assert "2 rows copied, 1 changed, 47 unchanged" in load(database, *words)
    ask(database, f"UPDATE items SET embedding = '[1,2]' WHERE id = {ids[12]}")
    assert f"(id {ids[12]})" in load(database, *words, code=1)
    ask(database, f"UPDATE items SET embedding = '[1,2,3]' WHERE id = {ids[13]}")
    assert "0 rows copied, 2 changed, 48 unchanged" in load(database, *words, "--replace")
    assert "0 rows copied, 0 changed, 50 unchanged" in load(database, *words, "--keep")
    rows = stored(database)
    assert np.array([rows[int(id_)] for id_ in ids], np.float32).tolist() == values.tolist()


def test_missing_rows_and_null_vectors_are_filled(table: str, tmp_path: Path) -> None:
    """A row that was deleted is copied again, a NULL is filled, and a NULL in the file removes nothing."""
    values = vectors(100)
    words = [save(tmp_path / "v.npy", values), "--table", "items", "--number-from", "1"]
    load(table, *words)
    ask(table, "DELETE FROM items WHERE id = 7; UPDATE items SET embedding = NULL WHERE id IN (8, 9)")
    assert "1 row copied, 2 changed, 97 unchanged" in load(table, *words)
    assert same(table, values)
    ask(table, "ALTER TABLE items ADD COLUMN title text; UPDATE items SET title = 'kept' WHERE id = 1")
    rows = [{"id": 1, "embedding": values[0].tolist(), "title": None}]
    assert "1 unchanged" in load(table, write_jsonl(tmp_path / "a.jsonl", rows), "--table", "items", "--replace")
    assert ask(table, "SELECT title FROM items WHERE id = 1") == [("kept",)]


def test_a_second_embedding_column(table: str, tmp_path: Path) -> None:
    ask(table, "ALTER TABLE items ADD COLUMN small halfvec(2)")
    load(
        table, save(tmp_path / "v.npy", vectors(10)), "--table", "items", "--vector", "embedding", "--number-from", "1"
    )
    words = [save(tmp_path / "w.npy", np.ones((10, 2))), "--table", "items", "--vector", "small", "--number-from", "1"]
    assert "10 changed" in load(table, *words)
    assert "10 unchanged" in load(table, *words)
    assert ask(table, "SELECT DISTINCT small::text FROM items") == [("[1,1]",)]
    assert "several vector columns: embedding, small" in load(table, words[0], "--table", "items", code=2)


@pytest.mark.parametrize(
    ("type_", "value", "text", "bad"),
    [
        ("vector(3)", [0.5, 0, -1], "[0.5,0,-1]", [1, 2]),
        ("halfvec(3)", [0.5, 0, -1], "[0.5,0,-1]", [1, 2, 65520]),
        ("sparsevec(3)", [0, 0.5, 0], "{2:0.5}/3", "{2:0.5}/4"),
        ("bit(3)", [1, 0, 1], "101", [1, 0, 2]),
    ],
)
def test_two_vector_columns_at_once(
    database: str, tmp_path: Path, type_: str, value: list[float], text: str, bad: object
) -> None:
    """Regression: a table with a second vector column that is NOT NULL could not be loaded."""
    ask(database, f"CREATE TABLE items (id int PRIMARY KEY, embedding vector(1), b {type_} NOT NULL)")
    words = ["--table", "items", "--vector", "embedding"]
    row = {"id": 1, "embedding": [1], "b": value}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert "1 row copied" in load(database, str(tmp_path / "a.parquet"), *words)
    assert ask(database, "SELECT b::text FROM items") == [(text,)]
    for cell in (text, json.dumps(value)):
        file = write_csv(tmp_path / "a.csv", [{"id": 1, "embedding": "[1]", "b": cell}])
        assert "1 unchanged" in load(database, file, *words)
    other = write_jsonl(tmp_path / "o.jsonl", [{**row, "b": [0, 1, 1]}])
    assert "row 1 (id 1): public.items has other values for this key" in load(database, other, *words, code=1)
    assert "1 changed" in load(database, other, *words, "--replace")
    wrong = write_jsonl(tmp_path / "w.jsonl", [{"id": 2, "embedding": [1], "b": bad}])
    assert f"w.jsonl, row 1: b: {str(bad)!r} is no {type_}" in load(database, wrong, *words, code=2)


def test_standard_input_patterns_and_compression(table: str, tmp_path: Path) -> None:
    """JSON Lines and CSV come from a pipe, and files by a pattern, in the order of their names."""
    row = json.dumps({"id": 1, "embedding": [1, 2, 3]})
    assert "1 row copied" in load(table, "-", "--table", "items", text=row)
    assert "1 unchanged" in load(table, "-", "--table", "items", text='id,embedding\n1,"[1, 2, 3]"\n')
    for part in range(3):
        save(tmp_path / f"part-{part}.npy", np.full((4, 3), part))
    load(table, str(tmp_path / "part-*.npy"), "--table", "items", "--number-from", "10")
    assert [vector[0] for id_, vector in stored(table).items() if id_ >= 10 and vector] == [0] * 4 + [1] * 4 + [2] * 4
    assert "no file matches" in load(table, str(tmp_path / "none-*.npy"), "--table", "items", code=2)


def test_parquet_with_other_columns(database: str, tmp_path: Path) -> None:
    """Typed columns need no text: timestamps, decimals, lists and structures, with NULLs."""
    ask(
        database,
        "CREATE TABLE items (id int PRIMARY KEY, embedding vector(2), at timestamptz, price numeric, names text[],"
        " about jsonb, raw bytea, title text)",
    )
    columns = {
        "id": [1, 2],
        "embedding": [[1.0, 2.0], [3.0, 4.0]],
        "at": [datetime(2026, 1, 2, tzinfo=UTC), None],
        "price": [Decimal("1.50"), None],
        "names": [["a", "b"], None],
        "about": [{"a": 1}, None],
        "raw": [b"\0", None],
        "title": ["t", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    words = [str(tmp_path / "a.parquet"), "--table", "items"]
    assert "2 rows copied" in load(database, *words)
    assert "2 unchanged" in load(database, *words)
    assert ask(database, "SELECT at, price, names, about, raw, title FROM items ORDER BY id") == [
        (datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.50"), ["a", "b"], {"a": 1}, b"\0", "t"),
        (None,) * 6,
    ]


def test_rows_of_parquet_that_are_no_vectors(table: str, tmp_path: Path) -> None:
    lists = [[1.0, 2.0, 3.0], [1.0], None]
    pq.write_table(pa.table({"id": [1, 2, 3], "embedding": lists}), tmp_path / "a.parquet")
    output = load(table, str(tmp_path / "a.parquet"), "--table", "items", code=2)
    assert "a.parquet, row 2: 1 dimensions, and 3 in the first row" in output


def test_two_files_with_one_key(table: str, tmp_path: Path) -> None:
    """One key with two vectors is refused also between files; the first file's row stays."""
    files = [write_jsonl(tmp_path / f"{number}.jsonl", [{"id": 1, "embedding": [number, 0, 0]}]) for number in (1, 2)]
    assert "2.jsonl, row 1 (id 1): public.items has other" in load(table, *files, "--table", "items", code=1)
    assert stored(table) == {1: [1, 0, 0]}


def test_columns_are_mapped_or_left_out(table: str, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"key": 5, "vector": [1, 2, 3], "title": "no"}])
    assert "has no column embedding" in load(table, file, "--table", "items", "--map", "key=id", code=2)
    words = [file, "--table", "items", "--map", "key=id", "--map", "vector=embedding"]
    assert "--map title=" in load(table, *words, code=2)
    assert "1 row copied" in load(table, *words, "--map", "title=")
    assert stored(table) == {5: [1, 2, 3]}
    assert "has no column nonsense" in load(table, *words, "--map", "nonsense=id", code=2)


def test_generated_ids_are_one_transaction_into_an_empty_table(database: str, tmp_path: Path) -> None:
    ask(database, "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, embedding vector(3))")
    values = vectors(10)
    file = save(tmp_path / "v.npy", values)
    load(database, file, "--table", "items")
    assert same(database, values)
    assert "a second load would double them" in load(database, file, "--table", "items", code=2)
    assert same(database, values)


def test_the_sequence_is_moved_past_the_ids(database: str, tmp_path: Path) -> None:
    """The next generated id is free, also far away, and a sequence that is ahead stays there."""
    ask(database, "CREATE TABLE items (id serial PRIMARY KEY, embedding vector(3))")
    file = save(tmp_path / "v.npy", vectors(10))
    load(database, file, "--table", "items", "--number-from", "5")
    assert ask(database, "SELECT nextval('items_id_seq')") == [(15,)]
    load(database, file, "--table", "items", "--number-from", "3000000")
    assert ask(database, "SELECT nextval('items_id_seq')") == [(3000010,)]
    load(database, file, "--table", "items", "--number-from", "3000000")
    assert ask(database, "SELECT nextval('items_id_seq')") == [(3000011,)]


def test_partitions_are_loaded_through_the_parent(database: str, tmp_path: Path) -> None:
    ask(
        database,
        "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3)) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (50);"
        "CREATE TABLE high PARTITION OF items FOR VALUES FROM (50) TO (1000)",
    )
    values = vectors(99)
    words = [save(tmp_path / "v.npy", values), "--table", "items", "--number-from", "1"]
    load(database, *words)
    assert same(database, values)
    assert "99 unchanged" in load(database, *words)


@pytest.mark.parametrize(
    ("type_", "value", "shown"), [("bit(3)", [1, 0, 1], "101"), ("sparsevec(3)", [0, 2, 0], "{2:2}/3")]
)
def test_bits_and_sparse_vectors(database: str, tmp_path: Path, type_: str, value: list[int], shown: str) -> None:
    """Lists of numbers and pgvector's own texts give the same vectors."""
    ask(database, f"CREATE TABLE items (id bigint PRIMARY KEY, embedding {type_})")
    load(database, write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "embedding": value}]), "--table", "items")
    assert ask(database, "SELECT embedding::text FROM items") == [(shown,)]
    texts = write_jsonl(tmp_path / "b.jsonl", [{"id": 1, "embedding": shown}])
    assert "1 unchanged" in load(database, texts, "--table", "items")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": 3, "embedding": [1, 2]}, "2 dimensions, and 3 in the first row"),
        ({"id": 3, "embedding": [1, 2, 1e39]}, "NaN or infinity"),
        ({"id": 3, "embedding": [1, 2, "3"]}, "not a list of numbers"),
        ({"id": 3, "embedding": [1, 2, None]}, "not a list of numbers"),
        ({"id": 3, "embedding": None}, "there is no vector"),
        ({"id": 3}, "there is no vector"),
        ({"id": None, "embedding": [1, 2, 3]}, "id, which is in the primary key, is NULL"),
        ({"embedding": [1, 2, 3]}, "id, which is in the primary key, is NULL"),
        ({"id": 1, "embedding": [1, 2, 3]}, "its key is also that of row 2"),
        ({"id": 2**63, "embedding": [1, 2, 3]}, "is no int8"),
        ({"id": 1.5, "embedding": [1, 2, 3]}, "is no int8"),
        ({"id": True, "embedding": [1, 2, 3]}, "is no int8"),
        ({"id": 3, "embedding": [0, 0, 0]}, "it is zero"),
    ],
)
def test_a_bad_row_stops_the_load_before_its_block(table: str, tmp_path: Path, row: object, reason: str) -> None:
    ask(table, "CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops)")
    good = [{"id": 2, "embedding": [1, 2, 3]}, {"id": 1, "embedding": [1, 2, 3]}]
    output = load(table, write_jsonl(tmp_path / "a.jsonl", [*good, row]), "--table", "items", code=2)  # type: ignore[list-item]
    assert "a.jsonl, row 3: " in output
    assert reason in output
    assert stored(table) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_no_vector_holds(table: str, tmp_path: Path, value: float) -> None:
    values = vectors(20).astype(float)
    values[16, 2] = value
    output = load(table, save(tmp_path / "v.npy", values), "--table", "items", "--number-from", "1", code=2)
    assert "v.npy, row 17: " in output
    assert stored(table) == {}


def test_an_overflow_of_halfvec_is_an_error(database: str, tmp_path: Path) -> None:
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding halfvec(2))")
    file = save(tmp_path / "v.npy", np.array([[1, 65504], [1, 65520]]))
    output = load(database, file, "--table", "items", "--number-from", "1", code=2)
    assert "row 2: a number is beyond the range of halfvec" in output


def test_other_dimensions_than_the_columns(table: str, tmp_path: Path) -> None:
    output = load(table, save(tmp_path / "v.npy", vectors(2, 4)), "--table", "items", "--number-from", "1", code=2)
    assert "row 1: 4 dimensions, and the column has 3" in output


def test_an_id_beyond_its_column(database: str, tmp_path: Path) -> None:
    ask(database, "CREATE TABLE items (id smallint PRIMARY KEY, embedding vector(3))")
    file = save(tmp_path / "v.npy", vectors(10))
    assert "row 6: id: 32768 is out of range" in load(
        database, file, "--table", "items", "--number-from", "32763", code=2
    )


@pytest.mark.parametrize(("first", "row"), [(2**63 - 2, 3), (10**23, 1)])
def test_numbers_beyond_the_largest_id(table: str, tmp_path: Path, first: int, row: int) -> None:
    """Regression: the number after the largest one was the smallest, and larger ones ended with a traceback."""
    words = [save(tmp_path / "v.npy", vectors(3)), "--table", "items", "--number-from", str(first)]
    assert f"v.npy, row {row}: id: " in load(table, *words, code=2)
    assert stored(table) == {}


def test_the_only_table_of_the_contract_is_the_default(table: str, tmp_path: Path) -> None:
    output = load(table, save(tmp_path / "v.npy", vectors(2)), "--number-from", "1", code=2)
    assert "which table? this database keeps no contract" in output


def test_bad_rows_go_to_a_file_and_can_be_mended_and_loaded(table: str, tmp_path: Path) -> None:
    """The good rows are loaded with exit code 1; the others are whole rows of JSON Lines, with the reason."""
    text = "".join(
        f'{{"id": {id_}, "embedding": {vector}}}\n'
        for id_, vector in [(1, "[1, 2, 3]"), (2, "[1, 2]"), (1, "[4, 5, 6]"), ('"x"', "[1, 1, 1]"), (5, "NaN")]
    )
    rejects = tmp_path / "rejects.jsonl"
    words = ["--table", "items", "--rejects", str(rejects)]
    output = load(table, "-", *words, "--json", text=text, code=1)
    words_of_error = {"error": "4 bad rows rejected", "remedy": f"Fix the rows in {rejects}, and load that file."}
    assert {"right": False, "copied": 1, "rejected": 4, **words_of_error}.items() <= json.loads(output).items()
    rows = sorted(map(json.loads, rejects.read_text().splitlines()), key=lambda row: row["rejected"]["row"])
    assert [(row["rejected"]["row"], row.get("id"), row.get("embedding")) for row in rows] == [
        (2, 2, [1, 2]),
        (3, 1, [4, 5, 6]),
        (4, "x", [1, 1, 1]),
        (5, None, None),
    ]
    assert rows[3]["rejected"]["line"] == '{"id": 5, "embedding": NaN}'
    rows[0]["embedding"], rows[1]["id"], rows[2]["id"] = [1, 2, 0], 3, "4"
    fixed = write_jsonl(tmp_path / "fixed.jsonl", rows[:3])
    assert "3 rows copied" in load(table, fixed, "--table", "items")
    assert list(stored(table)) == [1, 2, 3, 4]


def test_a_first_line_that_is_no_json_is_rejected_too(table: str, tmp_path: Path) -> None:
    """Regression: the names were those of the first line alone, so the file had "no column embedding".

    Regression: a file name that is not UTF-8 ended in a traceback.
    """
    text = '{"id": 1, "embedding": [1, 2\n{"id": 2, "embedding": [1, 2, 3]}\n'
    file, rejects = tmp_path / os.fsdecode(b"\xff.jsonl"), tmp_path / "rejects.jsonl"
    file.write_text(text)
    for name in (str(file), "-"):
        assert "row 1: it is not a JSON object" in load(table, name, "--table", "items", text=text, code=2)
        load(table, name, "--table", "items", "--rejects", str(rejects), text=text, code=1)
        assert json.loads(rejects.read_text())["rejected"]["line"] == text.splitlines()[0]
        assert stored(table) == {2: [1, 2, 3]}
    file.write_text("no\n" * 2000)
    assert "none of its first lines is a JSON object" in load(table, str(file), "--table", "items", code=2)


def test_a_name_that_only_a_later_line_has(database: str, tmp_path: Path) -> None:
    """Regression: the value was left out of the table, and the load succeeded."""
    ask(database, "CREATE TABLE items (id int PRIMARY KEY, embedding vector(3), title text)")
    rows = [{"id": 1, "embedding": [1, 2, 3]}, {"id": 2, "embedding": [1, 2, 3], "title": "x"}]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    output = load(database, file, "--table", "items", code=2)
    assert "a.jsonl, row 2: it has title, which the first line lacks" in output
    rejects = tmp_path / "rejects.jsonl"
    load(database, file, "--table", "items", "--rejects", str(rejects), code=1)
    assert "1 row copied" in load(database, str(rejects), "--table", "items")
    assert ask(database, "SELECT id, title FROM items ORDER BY id") == [(1, None), (2, "x")]


def test_a_disk_that_has_no_room_for_a_whole_bad_row(table: str, tmp_path: Path) -> None:
    """Regression: the rest of the last bad row was lost without a word."""
    file = write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "embedding": [1, 2]}])
    rejects = tmp_path / "rejects.jsonl"
    words = [*WORDS, file, "--table", "items", "--rejects", str(rejects)]
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", *words]
    rejects.parent.joinpath("a.jsonl").write_text(json.dumps({"id": 1, "embedding": [1, 2], "title": "x" * 2000}))
    ask(table, "ALTER TABLE items ADD title text")
    # Python would cut off the bytecode that it keeps, too.
    settings = {**os.environ, **pg_variables(table), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(limited, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert f"the bad rows cannot be written: {rejects}: File too large" in done.stderr


def test_a_table_without_a_key(database: str, tmp_path: Path) -> None:
    """Regression: it ended with a traceback. The load is one transaction, into an empty table."""
    ask(database, "CREATE TABLE items (id bigint, embedding vector(3))")
    file = write_jsonl(tmp_path / "a.jsonl", [{"id": 2 - n, "embedding": [1, 2, n]} for n in range(2)])
    assert "2 rows copied" in load(database, file, "--table", "items")
    assert stored(database) == {1: [1, 2, 1], 2: [1, 2, 0]}
    assert "a second load would double them" in load(database, file, "--table", "items", code=2)


def test_the_next_command_can_be_typed(database: str, tmp_path: Path) -> None:
    """Regression: the shell took the quotes from the name of the table."""
    ask(database, """CREATE TABLE "It's ""odd"" $1" (id int PRIMARY KEY, embedding vector(3))""")
    file = write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "embedding": [1, 2, 3]}])
    output = load(database, file, "--table", """"It's ""odd"" $1\"""")
    name = shlex.split(output.partition("Next: ")[2])[-1]
    assert "1 unchanged" in load(database, file, "--table", name)


def test_rejected_rows_of_an_array_have_their_keys(table: str, tmp_path: Path) -> None:
    values = vectors(100)
    values[41, 1] = np.nan
    words = [save(tmp_path / "v.npy", values), "--table", "items", "--number-from", "1"]
    load(table, *words, "--rejects", str(tmp_path / "r.jsonl"), code=1)
    row = json.loads((tmp_path / "r.jsonl").read_text())
    assert (row["id"], row["embedding"][1], row["rejected"]["row"]) == (42, None, 42)
    row["embedding"][1] = 0
    load(table, write_jsonl(tmp_path / "m.jsonl", [row]), "--table", "items")
    values[41, 1] = 0
    assert same(table, values)


def test_several_jobs_and_shards(table: str, tmp_path: Path) -> None:
    """Every part of the files is loaded once, by threads or by separate commands."""
    values = vectors(900)
    for part in range(9):
        save(tmp_path / f"{part}.npy", values[part * 100 : part * 100 + 100])
    words = [str(tmp_path / "*.npy"), "--table", "items", "--number-from", "1"]
    for shard in range(2):
        assert f"shard {shard}/3: public.items: 300 rows" in load(table, *words, "--shard", f"{shard}/3")
    missing = load(table, str(tmp_path / "none.npy"), "--table", "items", "--shard", "1/3", code=2)
    assert "error: shard 1/3: a file cannot be read" in missing, "of several beside each other, which one to repeat"
    assert len(stored(table)) == 600
    assert "300 rows copied, 0 changed, 600 unchanged" in load(table, *words, "--jobs", "4")
    assert same(table, values)
    for text in ("3/3", "x", "1", "-1/2", "0/" + "9" * 5000):
        assert "is not I/N" in load(table, *words, "--shard", text, code=2)


def test_the_first_error_of_several_jobs_is_told(table: str, tmp_path: Path) -> None:
    values = vectors(900)
    values[450, 0] = np.inf
    for part in range(9):
        save(tmp_path / f"{part}.npy", values[part * 100 : part * 100 + 100])
    words = [str(tmp_path / "*.npy"), "--table", "items", "--number-from", "1", "--jobs", "4"]
    assert "4.npy, row 51: it has NaN or infinity" in load(table, *words, code=2)


def test_a_file_that_does_not_exist(table: str) -> None:
    for name in ("missing.npy", "missing.csv"):
        output = load(table, name, "--table", "items", "--number-from", "1", code=2)
        assert f"a file cannot be read: {name}: No such file or directory" in output


def test_a_dry_run_writes_nothing(table: str, tmp_path: Path) -> None:
    file = save(tmp_path / "v.npy", vectors(20))
    words = [file, "--table", "items", "--number-from", "1", "--dry-run"]
    assert "20 good rows; nothing was written" in load(table, *words)
    document = json.loads(load(table, *words, "--json"))
    assert [document[key] for key in ("right", "rows", "copied", "changed", "unchanged")] == [True, 20, 0, 0, 0]
    assert stored(table) == {}


def test_json_has_the_result_or_the_error(table: str, tmp_path: Path) -> None:
    words = [save(tmp_path / "v.npy", vectors(20)), "--table", "items", "--json"]
    document = json.loads(load(table, *words, "--number-from", "1"))
    assert (document["right"], document["rows"], document["copied"]) == (True, 20, 20)
    error = json.loads(load(table, *words, code=2).rpartition("error:")[0])
    assert error["right"] is False
    assert "primary key" in error["error"]


def test_the_commands_of_the_docs(database: str, tmp_path: Path) -> None:
    """The documented commands work as pasted, after the installation that is their first line."""
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(4))")
    write_jsonl(tmp_path / "items.jsonl", [{"id": 4, "embedding": [0, 1, 2, 3]}])
    install, commands = readme_block("run: load", "docs/load.md").split("\n", 1)
    assert install == "python -m pip install -r requirements-load.txt"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**pg_variables(database), "PYTHONPATH": str(ROOT), "PATH": path}
    done = run(["bash", "-euc", commands], tmp_path, **settings)
    assert (done.returncode, "1 row copied" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize(
    "key",
    [
        "embedding vector_l2_ops",
        "(embedding::halfvec(3)) halfvec_l2_ops",
        "(binary_quantize(embedding)::bit(3)) bit_hamming_ops",
    ],
)
def test_an_index_that_is_there_before_the_data_is_named(table: str, tmp_path: Path, key: str) -> None:
    ask(table, f"CREATE INDEX slow ON items USING hnsw ({key})")
    output = load(table, save(tmp_path / "v.npy", vectors(20)), "--table", "items", "--number-from", "1")
    assert output.count("note: the hnsw index slow exists before the data") == 2, "first, and in the summary"
    bad = write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "embedding": [1]}])
    output = load(table, bad, "--table", "items", code=2)
    assert output.startswith("note: the hnsw index slow exists before the data: a load is several times as fast")


def test_a_file_for_the_rejects_that_cannot_be_written(table: str, tmp_path: Path) -> None:
    words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1", "--rejects"]
    output = load(table, *words, str(tmp_path / "missing" / "r.jsonl"), code=2)
    assert f"error: the folder {tmp_path}/missing is missing" in output
    assert f"the bad rows cannot be written: {tmp_path}: Is a directory" in load(table, *words, str(tmp_path), code=2)
    assert stored(table) == {}


def test_no_rejects_leave_no_file(table: str, tmp_path: Path) -> None:
    """An older file, whose rows may be loaded by now, does not stay either; what is no regular file does."""
    rejects = tmp_path / "r.jsonl"
    rejects.write_text("{}")
    pipe = tmp_path / "null"
    pipe.symlink_to("/dev/null")
    for file in (rejects, pipe):
        load(
            table,
            save(tmp_path / "v.npy", vectors(2)),
            "--table",
            "items",
            "--number-from",
            "1",
            "--rejects",
            str(file),
        )
    assert (rejects.exists(), pipe.exists()) == (False, True)


def test_a_load_that_fails_keeps_the_rejects_of_another(table: str, tmp_path: Path) -> None:
    """Regression: a misspelt table emptied a file of rows that somebody was fixing."""
    rejects = tmp_path / "r.jsonl"
    rejects.write_text('{"id": 1}\n')
    words = [save(tmp_path / "v.npy", vectors(2)), "--number-from", "1", "--rejects", str(rejects), "--table"]
    load(table, *words, "itmes", code=2)
    assert rejects.read_text() == '{"id": 1}\n'


def test_the_rejects_never_replace_a_file_that_is_loaded(table: str, tmp_path: Path) -> None:
    """Regression: the file was emptied before it was read, and its rows were lost."""
    name = write_jsonl(tmp_path / "rejected.jsonl", [{"id": 1, "embedding": [1, 2, 3]}])
    before = Path(name).read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(name)
    for rejects in (name, str(link)):
        assert "is one of the files to load" in load(table, name, "--table", "items", "--rejects", rejects, code=2)
    assert Path(name).read_bytes() == before


def test_the_servers_counters_have_each_row_once(table: str, tmp_path: Path) -> None:
    """Regression: rows that the session reported after its ANALYZE were counted twice, and verify told of them."""
    load(table, save(tmp_path / "v.npy", vectors(500)), "--table", "items", "--number-from", "1")
    assert ask(table, "SELECT pg_stat_get_live_tuples('items'::regclass)") == [(500,)]


# As in the extension citext, which the embedded servers lack: the operators are not those of pg_catalog.
CITEXT = """
CREATE TYPE citext;
CREATE FUNCTION citextin(cstring) RETURNS citext AS 'textin' LANGUAGE internal IMMUTABLE STRICT;
CREATE FUNCTION citextout(citext) RETURNS cstring AS 'textout' LANGUAGE internal IMMUTABLE STRICT;
CREATE FUNCTION citextrecv(internal) RETURNS citext AS 'textrecv' LANGUAGE internal STABLE STRICT;
CREATE FUNCTION citextsend(citext) RETURNS bytea AS 'textsend' LANGUAGE internal STABLE STRICT;
CREATE TYPE citext (INPUT = citextin, OUTPUT = citextout, RECEIVE = citextrecv, SEND = citextsend, LIKE = text,
                    CATEGORY = 'S');
CREATE CAST (citext AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION citext_cmp(citext, citext) RETURNS int LANGUAGE sql IMMUTABLE STRICT
AS 'SELECT bttextcmp(lower($1::text), lower($2::text))';
{functions}
CREATE OPERATOR CLASS citext_ops DEFAULT FOR TYPE citext USING btree
AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 citext_cmp(citext, citext);
"""
COMPARISON = """
CREATE FUNCTION citext_{0}(citext, citext) RETURNS bool LANGUAGE sql IMMUTABLE STRICT
AS 'SELECT citext_cmp($1, $2) {1} 0';
CREATE OPERATOR {1} (LEFTARG = citext, RIGHTARG = citext, FUNCTION = citext_{0}, MERGES);
"""
SIGNS = {"lt": "<", "le": "<=", "eq": "=", "ge": ">=", "gt": ">"}
COMPARISONS = "".join(COMPARISON.format(name, sign) for name, sign in SIGNS.items())


def test_keys_that_the_server_takes_for_one(database: str, tmp_path: Path) -> None:
    """Regression: other letters of a key were copied, and refused by the index."""
    ask(database, CITEXT.format(functions=COMPARISONS))
    ask(database, "CREATE TABLE items (id citext PRIMARY KEY, embedding vector(1))")
    ask(database, "INSERT INTO items VALUES ('Old', '[1]'), ('Other', '[5]')")
    rows = [{"id": "old", "embedding": [1]}, {"id": "new", "embedding": [2]}]
    words = [write_jsonl(tmp_path / "a.jsonl", rows), "--table", "items"]
    assert "1 row copied, 0 changed, 1 unchanged" in load(database, *words)
    assert "0 rows copied, 0 changed, 2 unchanged" in load(database, *words, "--keep")
    other = write_jsonl(tmp_path / "b.jsonl", [{"id": "OTHER", "embedding": [6]}])
    assert "b.jsonl, row 1: public.items has other values for this key" in load(
        database, other, "--table", "items", code=1
    )
    assert "1 changed" in load(database, other, "--table", "items", "--replace")
    twice = write_jsonl(tmp_path / "c.jsonl", [{"id": id_, "embedding": [1]} for id_ in ("Twice", "b", "twice")])
    for options in ([], ["--keep"], ["--replace"]):
        output = load(database, twice, "--table", "items", *options, code=1)
        assert "c.jsonl, row 3: its key is also that of" in output
        assert "c.jsonl, row 1, as public.items compares id" in output


def test_rejected_cells_of_csv_can_be_loaded_again(database: str, tmp_path: Path) -> None:
    """Regression: JSON came back as a text, an empty cell as "", and a row got another number."""
    ask(database, "CREATE TABLE items (id int PRIMARY KEY, embedding vector(2), title text, about jsonb, size int)")
    text = 'embedding,title,about,size\n"[1]",a,"{""b"": [1, null]}",\n"[1,2]",,"""c""",x\n"[3,4]",t,[5],6,\n'
    (tmp_path / "a.csv").write_text(text)
    rejects = tmp_path / "r.jsonl"
    load(database, str(tmp_path / "a.csv"), "--table", "items", "--number-from", "7", "--rejects", str(rejects), code=1)
    rows = sorted(map(json.loads, rejects.read_text().splitlines()), key=lambda row: row["rejected"]["row"])
    assert [{name: row[name] for name in row if name != "rejected"} for row in rows] == [
        {"id": 7, "embedding": [1], "title": "a", "about": {"b": [1, None]}, "size": None},
        {"id": 8, "embedding": [1, 2], "title": None, "about": "c", "size": "x"},
        {"id": 9, "embedding": [3, 4], "title": "t", "about": [5], "size": "6"},
    ]
    rows[0]["embedding"], rows[1]["size"] = [0, 1], 5
    assert "3 rows copied" in load(database, write_jsonl(tmp_path / "m.jsonl", rows), "--table", "items")
    assert ask(database, "SELECT id, title, about, size FROM items ORDER BY id") == [
        (7, "a", {"b": [1, None]}, None),
        (8, None, "c", 5),
        (9, "t", [5], 6),
    ]


def test_a_rejected_row_of_csv_has_all_its_cells(table: str, tmp_path: Path) -> None:
    """Regression: cells beyond those of the first line were lost, such as the parts of a vector without quotes."""
    (tmp_path / "a.csv").write_text("id,embedding\n1,[1,2,3]\n")
    load(table, str(tmp_path / "a.csv"), "--table", "items", "--rejects", str(tmp_path / "r.jsonl"), code=1)
    rejected = json.loads((tmp_path / "r.jsonl").read_text())["rejected"]
    assert (rejected["reason"], rejected["line"]) == ("4 cells, and 2 names in the first line", "1,[1,2,3]")


def test_hdf5_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError) as caught:
        format_of("a.hdf5").units("a.hdf5")
    assert caught.value.remedy == f"Run: {install_package('h5py')}"


def test_a_table_whose_name_needs_quotes_is_proposed(table: str, tmp_path: Path) -> None:
    ask(table, 'ALTER TABLE items RENAME TO "Products"')
    words = [save(tmp_path / "v.npy", vectors(2)), "--number-from", "1", "--table"]
    output = load(table, *words, "Products", code=2)
    assert "there is no table products in the schema public; did you mean '\"Products\"'?" in output
    assert "did you mean" not in load(table, *words, "xyz", code=2)
