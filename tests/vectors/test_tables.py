"""Tables with vector columns, as the catalog has them."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

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


def test_a_partial_index_is_marked(database: str) -> None:
    """A contract leaves it out, as it does not serve the whole table."""
    ask(database, "CREATE TABLE t (tenant int, at vector(3))")
    ask(database, "CREATE INDEX ON t USING hnsw (at vector_cosine_ops) WHERE tenant = 1")
    with connect(database) as connection:
        (entry,) = vector_tables(connection, "public")
    assert (entry["metric"], [index["partial"] for index in entry["indexes"]]) == ("cosine", [True])


@pytest.mark.parametrize(("with_", "parameters"), [("", {}), (" WITH (m = 8)", {"m": 8})])
def test_an_index_of_another_access_method_is_one(database: str, with_: str, parameters: dict[str, int]) -> None:
    """Regression: the catalog's tables had indexes of hnsw and ivfflat only."""
    ask(database, DISKANN)
    ask(database, f"CREATE TABLE t (at vector(3)); CREATE INDEX t_at ON t USING diskann (at vector_cosine_ops){with_}")
    with connect(database) as connection:
        (entry,) = vector_tables(connection, "public")
    assert entry["metric"] == "cosine"
    assert entry["indexes"] == [{"name": "t_at", "method": "diskann", "parameters": parameters}]


HALF = {"as": "halfvec"}
BITS = {"bits": True}
KEYS = [
    ("hnsw (CAST(at AS halfvec(3)) halfvec_ip_ops) WITH (m = 8)", "hnsw", HALF),
    ("ivfflat ((at::halfvec(3)) halfvec_ip_ops) WITH (lists = 1)", "ivfflat", HALF),
    ("hnsw (CAST(binary_quantize(at) AS bit(3)) bit_hamming_ops)", "hnsw", BITS),
    ("ivfflat ((binary_quantize(at)::bit(3)) bit_hamming_ops)", "ivfflat", BITS),
    ("diskann ((at::halfvec(3)) halfvec_ip_ops)", "diskann", HALF),
]
HALF_DISKANN = """
CREATE ACCESS METHOD diskann TYPE INDEX HANDLER hnswhandler;
CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING diskann AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 halfvec_negative_inner_product(halfvec, halfvec), FUNCTION 3 hnsw_halfvec_support(internal);
"""
ODD = """
CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;
CREATE TABLE odd ("%s"" At" vector(3), other vector(3));
CREATE INDEX half ON odd USING hnsw (CAST("%s"" At" AS halfvec(3)) halfvec_l2_ops);
CREATE INDEX of_bits ON odd USING hnsw (CAST(binary_quantize(other) AS bit(3)) bit_hamming_ops)
"""


@pytest.mark.parametrize(("on", "method", "key"), KEYS)
def test_an_index_on_a_cast_or_on_bits_is_its_columns(database: str, on: str, method: str, key: dict[str, Any]) -> None:
    """Regression: an index on an expression was not seen. One on bits, which ranks twice, tells no metric."""
    ask(database, HALF_DISKANN)
    ask(database, f"CREATE TABLE t (other vector(3), at vector(3)); CREATE INDEX t_at ON t USING {on}")
    with connect(database) as connection:
        _, entry = vector_tables(connection, "public")
    (index,) = entry["indexes"]
    del index["parameters"]
    assert (entry["vector"], index) == ("at", {"name": "t_at", "method": method, **key})
    assert entry.get("metric") == ("ip" if key is HALF else None)


def test_bits_leave_the_metric_of_the_plain_index(database: str) -> None:
    plain = "CREATE TABLE t (at vector(3)); CREATE INDEX plain ON t USING hnsw (at vector_l1_ops)"
    ask(database, f"{plain}; CREATE INDEX of_bits ON t USING hnsw ((binary_quantize(at)::bit(3)) bit_hamming_ops)")
    with connect(database) as connection:
        (entry,) = vector_tables(connection, "public")
    assert entry["metric"] == "l1"
    assert [index["name"] for index in entry["indexes"]] == ["of_bits", "plain"]


@pytest.mark.parametrize("schema", ["public", 'My "own'])
def test_names_are_compared_as_the_server_writes_them(empty_database: str, schema: str) -> None:
    """The type of the cast and the function of the bits are pgvector's own, in its schema."""
    quoted = sql.Identifier(schema).as_string()
    ask(
        empty_database,
        f"CREATE SCHEMA IF NOT EXISTS {quoted}; SET search_path TO public, {quoted};"
        + ODD.replace("SCHEMA public", f"SCHEMA {quoted}"),
    )
    with connect(empty_database) as connection:
        keys = {entry["vector"]: entry["indexes"] for entry in vector_tables(connection, "public")}
    assert {column: [index["name"] for index in indexes] for column, indexes in keys.items()} == {
        '%s" At': ["half"],
        "other": ["of_bits"],
    }


@pytest.mark.parametrize(
    "key",
    [
        "((at + '[1,1,1]')::vector(3)) vector_l2_ops",
        "(subvector(at, 1, 2)::halfvec(2)) halfvec_l2_ops",
        "(binary_quantize(at + '[1,1,1]')::bit(3)) bit_hamming_ops",
        "(at::sparsevec(3)) sparsevec_l2_ops",
    ],
)
def test_an_index_on_another_expression_is_of_no_column(database: str, key: str) -> None:
    """The reader's query has none of these expressions."""
    ask(database, f"CREATE TABLE t (at vector(3)); CREATE INDEX ON t USING hnsw ({key})")
    with connect(database) as connection:
        (entry,) = vector_tables(connection, "public")
    assert entry["indexes"] == []
