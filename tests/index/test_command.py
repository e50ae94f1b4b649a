"""``python -m seed index``: its output, its JSON and its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables
from tests.data.helpers import load
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.migrate.helpers import run
from tests.migrate.test_indexes import NAME, ROWS, declared
from tests.migrate.test_indexes import folder as folder

pytestmark = pytest.mark.newest


def index(database: str, *words: str, code: int = 0, **settings: str) -> str:
    """Run the command, and return both outputs."""
    environment = {**os.environ, **pg_variables(database), **settings}
    done = run_seed("index", *words, environment=environment)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output
    return done.stdout if "--json" in words else output


def as_json(database: str, *words: str, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(index(database, *words, "--json", code=code))
    return document


def test_from_waiting_to_ready(database: str, folder: Path) -> None:
    run(database, folder, declared())
    waiting = index(database, "status", code=1)
    assert f"{NAME}  waits: items has 0 of 100 rows\n  hnsw for cosine on items (embedding), m = 8\n" in waiting
    assert "Load the rows, or declare fewer; then: python -m seed index build" in waiting
    assert "waits: items has 0 of 100 rows" in index(database, "build", code=1)
    ask(database, ROWS.format(1, 100))
    assert "is not built" in index(database, "status", code=1)
    assert f"{NAME} is built" in index(database, "build")
    assert "ready, " in index(database, "status")
    assert f"Nothing to build: {NAME} ready." in index(database, "build")
    assert ask(database, "SELECT reltuples FROM pg_class WHERE relname = 'items'") == [(100,)], "it is analyzed"


def test_load_names_an_index_that_is_to_be_built(database: str, folder: Path, tmp_path: Path) -> None:
    """After a load, the next command is the build, and after the build it is not told again."""
    run(database, folder, declared(rows=3))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"id": {id_}, "embedding": [1, 2, {id_}]}}\n' for id_ in range(3)))
    output = load(database, str(file), "--table", "items")
    assert f"the declared index {NAME} is not built: once all rows are loaded, the role postgres may build it" in output
    assert "Next: python -m seed index build" in output
    index(database, "build")
    assert "Next: python -m seed verify\n" in load(database, str(file), "--table", "items")


def test_json_has_the_states_and_the_work(database: str, folder: Path) -> None:
    run(database, folder, declared())
    (entry,) = as_json(database, "status", code=1)["indexes"]
    assert (entry["ready"], entry["waits_for_rows"], entry["parameters"]) == (False, 100, {"m": 8})
    ask(database, ROWS.format(1, 100))
    document = as_json(database, "build")
    assert (document["right"], document["built"], document["dropped"]) == (True, [NAME], [])
    assert as_json(database, "drop", NAME) == {"dropped": True}
    error = as_json(database, "drop", "items_pkey", code=2)
    assert error["error"] == "the stack declares no index items_pkey"


def test_bad_usage(database: str, folder: Path) -> None:
    run(database, folder, declared())
    assert "did you mean items_embedding_hnsw?" in index(database, "build", "items_embeding_hnsw", code=2)
    assert "must be a size in kB, MB, GB or TB" in index(database, "build", "--memory", "2 gigabytes", code=2)
    assert "Run: pulumi up" in index(database, "status", code=2, PGDATABASE="postgres")


def test_a_login_without_the_right(database: str, folder: Path) -> None:
    """A role that does not own the table is told who may build its index."""
    run(database, folder, declared())
    ask(database, ROWS.format(1, 100))
    ask(database, "DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 's'")
    ask(database, "GRANT USAGE ON SCHEMA pgvector_seed TO stranger")
    ask(database, "GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed, public TO stranger")
    output = index(database, "build", code=2, PGUSER="stranger", PGPASSWORD="s")
    assert "the role stranger cannot index the table items: it is owned by postgres" in output
    assert "PGOPTIONS='-c role=postgres'" in output


def test_a_recall_below_the_declared_minimum(database: str, folder: Path) -> None:
    """The recall is measured after the change; too low, the exit code is 1 and the old definition is told."""
    low = {"method": "hnsw", "parameters": {"m": 2, "ef_construction": 4}}
    run(database, folder, declared(rows=2000))
    rows = "INSERT INTO items SELECT i, ARRAY[sin(i), cos(i * 7), sin(i * 3)]::vector FROM generate_series(1, 5000) i"
    ask(database, rows)
    index(database, "build")
    recall = {"k": 40, "minimum": 1.0}
    run(database, folder, declared(low, rows=2000, recall=recall))
    output = index(database, "build", code=1)
    assert "recall@40 is 0." in output
    assert "1 is declared" in output
    assert "Before: differs: m is 8, not 2" in output


def test_a_sample_is_built_and_measured_first(database: str, folder: Path) -> None:
    """With --sample, an index whose recall is too low on a copy leaves the table's own as it is."""
    run(database, folder, declared(rows=2000))
    rows = "INSERT INTO items SELECT i, ARRAY[sin(i), cos(i * 7), sin(i * 3)]::vector FROM generate_series(1, 5000) i"
    ask(database, rows)
    index(database, "build")
    low = {"method": "hnsw", "parameters": {"m": 2, "ef_construction": 4}}
    run(database, folder, declared(low, rows=2000, recall={"k": 40, "minimum": 1.0}))
    output = index(database, "build", "--sample", "4000", code=1)
    assert "recall@40 on a copy of 4,000 rows is 0." in output
    assert ask(database, f"SELECT reloptions FROM pg_class WHERE relname = '{NAME}'") == [(["m=8"],)]
    run(database, folder, declared(low, rows=2000, recall={"k": 2, "minimum": 0.01}))
    output = index(database, "build", "--sample", "4000")
    assert "recall@2 on a copy of 4,000 rows is" in output
    assert f"{NAME} is built" in output


def test_the_readers_switches_are_measured_as_they_are_stored(database: str, folder: Path) -> None:
    """Regression: YAML's false was given to the server as "False", which no setting but a boolean accepts."""
    table = {"metric": "cosine", "index": [{"method": "hnsw"}], "recall": {"k": 2, "minimum": 0.01}}
    run(database, folder, declare(tables={"items": table}, reader_settings={"hnsw.iterative_scan": False}))
    ask(database, ROWS.format(1, 100))
    assert "recall@2 is" in index(database, "build")


def test_the_sample_of_an_index_with_lists_of_its_own_refuses_nothing(database: str, folder: Path) -> None:
    """The copy has the lists of the table with fewer rows in each, so that its recall is lower than the table's."""
    recall = {"k": 20, "minimum": 1.0}
    run(database, folder, declared({"method": "ivfflat", "name": NAME}, recall=recall))
    rows = "INSERT INTO items SELECT i, ARRAY[sin(i), cos(i * 7), sin(i * 3)]::vector FROM generate_series(1, 9000) i"
    ask(database, rows)
    output = index(database, "build", "--sample", "300", code=1)
    assert "recall@20 on a copy of 300 rows is 0." in output
    assert "1 is declared; with more rows in each list it is higher" in output
    assert ask(database, f"SELECT 1 FROM pg_class WHERE relname = '{NAME}'")
