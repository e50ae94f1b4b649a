"""Tables that other clients make, adopted by a baseline and verified by the contract that it records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgvector_seed.migrate.adopt import baseline
from pgvector_seed.migrate.files import load
from pgvector_seed.postgres.connection import connect
from seed.verify.model import Status
from tests.conftest import ask, declare
from tests.migrate.helpers import ledger_of, run, write
from tests.verify.helpers import results, with_status

pytestmark = pytest.mark.newest

# As langchain_postgres makes it: the column of the vectors has no dimensions.
LANGCHAIN = """
CREATE TABLE langchain_pg_collection (uuid uuid PRIMARY KEY, name varchar UNIQUE NOT NULL, cmetadata json);
CREATE TABLE langchain_pg_embedding (
  id varchar PRIMARY KEY,
  collection_id uuid REFERENCES langchain_pg_collection (uuid) ON DELETE CASCADE,
  embedding vector,
  document varchar,
  cmetadata jsonb
);
CREATE INDEX ix_cmetadata_gin ON langchain_pg_embedding USING gin (cmetadata jsonb_path_ops);
"""
ROWS = """
INSERT INTO langchain_pg_embedding (id, embedding, document)
SELECT i::text, (SELECT array_agg(sin(i * j)) FROM generate_series(1, {dimensions}) AS j)::vector, 'text ' || i
FROM generate_series({first}, {first} + 99) AS i
"""


def test_the_table_of_langchain_is_verified_by_its_baseline(new_database: Callable[..., str], folder: Path) -> None:
    """Regression: the baseline accepted a column without dimensions, and verify failed the contract that it wrote."""
    conninfo = new_database()
    ask(conninfo, LANGCHAIN + ROWS.format(dimensions=8, first=1))
    write(folder, a1_up=LANGCHAIN)
    with connect(conninfo) as connection:
        baseline(connection, load(folder), declare(), "0001_a", print)
    run(conninfo, folder)
    ledger = ledger_of(conninfo)
    assert ledger is not None
    assert ledger.contract is not None
    outcomes = results(conninfo, ledger.contract)
    assert with_status(outcomes, Status.FAIL) == {}
    assert with_status(outcomes, Status.PASS)["column"] == (
        "embedding vector without dimensions, rows of 8 dimensions, unique id"
    )
    ask(conninfo, ROWS.format(dimensions=3, first=101))
    (column,) = results(conninfo, ledger.contract, "column")
    assert "rows of 3 and 8 dimensions" in column.outcome.message
