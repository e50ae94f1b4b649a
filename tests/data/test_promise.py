"""The defaults of a tuning are the contract's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvector_seed.data.promise import Promise, read_promise
from pgvector_seed.data.search import Question
from pgvector_seed.data.target import find_target
from pgvector_seed.data.tune import tune
from pgvector_seed.data.tuning import Aim
from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare
from tests.data.test_tune import Recorder
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone
from tests.migrate.helpers import run, write

pytestmark = pytest.mark.newest
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3), other vector(3));"
ROWS = """
INSERT INTO items SELECT i, ARRAY[sin(i), cos(i * 7), sin(i * 3)]::vector FROM generate_series(1, 3000) i;
CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops); ANALYZE items
"""


def test_k_the_target_and_the_reader_are_the_contract_s(database: str, tmp_path: Path) -> None:
    """They hold for the declared column alone, and an option has precedence."""
    table = {
        "metric": "cosine",
        "recall": {"k": 7, "minimum": 0.8},
        "index": [{"method": "hnsw", "column": "embedding"}],
    }
    write(tmp_path, a1_up=TABLE, a1_down="DROP TABLE items;")
    run(database, tmp_path, declare(tables={"items": table}))
    ask(database, ROWS)
    with connect(database) as connection:
        assert read_promise(connection, find_target(connection, "items", "embedding")) == Promise(
            DeclaredRecall(k=7, minimum=0.8)
        )
        subject = tune(connection, Question("items", "embedding"), (), Aim(queries=40), Recorder()).subject
        assert (subject.k, subject.target, subject.search.column.metric) == (7, 0.8, "cosine")
        aim = Aim(3, 0.5, queries=40)
        subject = tune(connection, Question("items", "embedding"), (), aim, Recorder()).subject
        assert (subject.k, subject.target) == (3, 0.5)


def test_without_a_contract_nothing_is_promised(database: str) -> None:
    ask(database, TABLE)
    with connect(database) as connection:
        assert read_promise(connection, find_target(connection, "items", "other")) == Promise()
