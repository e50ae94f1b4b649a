"""Tables with vector columns, as the catalog has them."""

from __future__ import annotations

import pytest

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.metrics import OPERATORS
from pgvector_seed.vectors.tables import vector_tables
from tests.conftest import DISKANN, ask

OF_BITS = ["hamming", "jaccard"]
CLASSES = [
    *((f"{kind}(3)", kind, metric) for kind in ("vector", "halfvec", "sparsevec") for metric in OPERATORS),
    *(("bit(3)", "bit", metric) for metric in OF_BITS),
]


def test_an_index_tells_its_metric_for_each_operator_class(database: str) -> None:
    classes = [(type_, kind, metric) for type_, kind, metric in CLASSES if (kind == "bit") == (metric in OF_BITS)]
    for type_, kind, metric in classes:
        name = f"{kind}_{metric}"
        ask(database, f"CREATE TABLE {name} (at {type_}); CREATE INDEX ON {name} USING hnsw (at {name}_ops)")
    with connect(database) as connection:
        metrics = {entry["table"]: entry["metric"] for entry in vector_tables(connection, "public")}
    assert metrics == {f"{kind}_{metric}": metric for _, kind, metric in classes}


@pytest.mark.parametrize(("with_", "parameters"), [("", {}), (" WITH (m = 8)", {"m": 8})])
def test_an_index_of_another_access_method_is_one(database: str, with_: str, parameters: dict[str, int]) -> None:
    """Regression: the catalog's tables had indexes of hnsw and ivfflat only."""
    ask(database, DISKANN)
    ask(database, f"CREATE TABLE t (at vector(3)); CREATE INDEX t_at ON t USING diskann (at vector_cosine_ops){with_}")
    with connect(database) as connection:
        (entry,) = vector_tables(connection, "public")
    assert entry["metric"] == "cosine"
    assert entry["indexes"] == [{"name": "t_at", "method": "diskann", "parameters": parameters}]
