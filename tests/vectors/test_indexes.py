"""The statement that builds a vector index."""

from __future__ import annotations

import pytest
from psycopg import sql

from pgvector_seed.vectors.indexes import create_index


@pytest.mark.parametrize(
    ("parameters", "with_"),
    [
        ({}, ""),
        ({"m": 16, "ef_construction": 64}, ""),
        ({"m": "16", "ef_construction": 100}, ' WITH ("ef_construction" = 100)'),
    ],
)
def test_defaults_are_left_out(parameters: dict[str, int | str], with_: str) -> None:
    """Regression: an index built by verify's remedy had them, and `migrate repair` saw another index."""
    statement = create_index(
        "i",
        sql.Identifier("t"),
        sql.Identifier("v"),
        "vector_l2_ops",
        method="hnsw",
        parameters=parameters,
        concurrently=False,
    )
    assert statement.as_string() == f'CREATE INDEX "i" ON "t" USING "hnsw" ("v" "vector_l2_ops"){with_};'
