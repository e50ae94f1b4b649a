"""The operator classes and dimensions that an index can have."""

from __future__ import annotations

from typing import Any

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.limits import operator_class
from tests.conftest import DISKANN, ask


def definition(method: str, metric: str, **key: Any) -> IndexDefinition:
    return IndexDefinition("public", "t", "i", "at", method, metric, {}, **key)


@pytest.mark.parametrize(
    ("index", "type_", "dimensions", "name"),
    [
        (definition("hnsw", "l1"), "sparsevec", 100_000, "sparsevec_l1_ops"),
        (definition("hnsw", "ip"), "vector", 2000, "vector_ip_ops"),
        (definition("hnsw", "jaccard"), "bit", 64_000, "bit_jaccard_ops"),
        (definition("ivfflat", "l2", cast="halfvec"), "vector", 4000, "halfvec_l2_ops"),
        (definition("ivfflat", "cosine", bits=True), "halfvec", 64_000, "bit_hamming_ops"),
        (definition("diskann", "cosine"), "vector", 16_000, "vector_cosine_ops"),
    ],
)
def test_the_catalog_has_the_operator_class(
    database: str, index: IndexDefinition, type_: str, dimensions: int, name: str
) -> None:
    """Of any access method: a class is not assembled from names."""
    ask(database, DISKANN)
    with connect(database) as connection:
        assert operator_class(connection, index, type_, dimensions)[1] == name


@pytest.mark.parametrize(
    ("index", "type_", "dimensions", "fault", "remedy"),
    [
        (definition("ivfflat", "l2"), "vector", 2001, "2,000 .* has 2,001", "halfvec (4,000) or bits: true (64,000)."),
        (definition("hnsw", "l2", cast="halfvec"), "vector", 4001, "4,000 .* halfvec", "with bits: true (64,000)."),
        (definition("hnsw", "l2"), "halfvec", 4001, "4,000 .* halfvec", "an index with bits: true (64,000)."),
        (definition("hnsw", "hamming"), "bit", 64_001, "64,000 .* bit", "Use vectors of fewer dimensions."),
        (definition("ivfflat", "l2"), "sparsevec", 9, "ivfflat .* l2 on sparsevec", "Use the method hnsw."),
        (definition("ivfflat", "l1"), "vector", 9, "ivfflat .* l1 on vector", "Use the method hnsw."),
        (definition("hnsw", "hamming"), "vector", 9, "hamming on vector", "on vector serves cosine, ip, l1, l2."),
        (definition("vchordrq", "l2"), "vector", 9, "vchordrq does not exist", "use another method."),
    ],
)  # fmt: skip
def test_an_impossible_index_names_another(
    database: str, index: IndexDefinition, type_: str, dimensions: int, fault: str, remedy: str
) -> None:
    with connect(database) as connection, pytest.raises(InputError, match=fault) as error:
        operator_class(connection, index, type_, dimensions)
    assert error.value.remedy.endswith(remedy)
