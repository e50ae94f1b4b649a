"""``from pgvector_seed import load``: arrays and blocks from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from pgvector_seed import load
from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.data.block import Block
from tests.conftest import ask, pg_variables
from tests.data.helpers import make_table, same, stored, vectors
from tests.e2e.conftest import readme_block

pytestmark = pytest.mark.newest


@pytest.fixture
def table(database: str) -> str:
    """Return the conninfo of a database with the empty table items (id, embedding of 3 dimensions)."""
    make_table(database)
    return database


def test_arrays_with_ids_and_columns(table: str) -> None:
    """A second call finds every row unchanged, and another vector is refused."""
    ask(table, "ALTER TABLE items ADD COLUMN title text, ADD COLUMN about jsonb, ADD COLUMN mark uuid")
    values = vectors(2000)
    titles = [f"title {row}" if row % 2 else None for row in range(2000)]
    columns: dict[str, list[Any]] = {
        "title": titles,
        "about": [{"row": row} for row in range(2000)],
        "mark": [UUID(int=7)] * 2000,
    }
    loaded = load(values, np.arange(1, 2001), columns=columns, table="items", conninfo=table)
    assert (loaded.table, loaded.rows, loaded.counts.copied) == ("public.items", 2000, 2000)
    assert same(table, values)
    assert ask(table, "SELECT title, about, mark FROM items WHERE id = 2") == [("title 1", {"row": 1}, UUID(int=7))]
    again = load(values, range(1, 2001), columns=columns, table="items", conninfo=table)
    assert again.counts.unchanged == 2000
    values[5] += 1
    with pytest.raises(WrongResultError, match=r"the array, row 6 \(id 6\)"):
        load(values, range(1, 2001), table="items", conninfo=table)
    assert load(values, range(1, 2001), table="items", existing="replace", conninfo=table).counts.changed == 1


def test_the_program_of_the_docs(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(4), title text)")
    for name, value in pg_variables(database).items():
        monkeypatch.setenv(name, value)
    exec(readme_block("python: arrays", "docs/load.md"), {})  # noqa: S102
    assert ask(database, "SELECT count(*) FROM items WHERE title = 'a'") == [(100,)]


def test_an_iterator_of_blocks(table: str) -> None:
    values = vectors(300)
    numbers = np.arange(1, 101)
    blocks = (
        Block(f"block {n}", numbers, values[n * 100 : n * 100 + 100], {"id": numbers + n * 100}) for n in range(3)
    )
    assert load(blocks, table="items", conninfo=table).counts.copied == 300
    assert same(table, values)
    assert load(iter(()), table="items", conninfo=table).rows == 0


def test_bad_arrays_and_rows(table: str, tmp_path: Path) -> None:
    for arguments, words in (
        ((vectors(3)[0],), "not numbers in two dimensions"),
        ((vectors(3), [1, 2]), "ids has 2 values, and there are 3 vectors"),
        ((vectors(3),), "there are no values for the primary key"),
        ((vectors(3), [1, 2, None]), "the array, row 3: id, which is in the primary key, is NULL"),
        ((vectors(3, 4), [1, 2, 3]), "4 dimensions, and the column has 3"),
    ):
        with pytest.raises(InputError, match=words):
            load(*arguments, table="items", conninfo=table)
    rejects = tmp_path / "r.jsonl"
    loaded = load(vectors(3), [1, 2, None], table="items", rejects=str(rejects), conninfo=table)
    assert (loaded.rows, loaded.rejected, list(stored(table))) == (2, 1, [1, 2])
