"""pgvector's distances: the name, the operator, and the operator class that serves it.

Source: the sections "Querying", "Indexing" and "Binary Vectors" of pgvector's README.
"""

OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}

# What an index is built with where its definition does not say: the sections "HNSW" and "IVFFlat".
INDEX_DEFAULTS: dict[str, dict[str, int | str]] = {
    "hnsw": {"m": 16, "ef_construction": 64},
    "ivfflat": {"lists": 100},
}


def metric_of(operator_class: str) -> str | None:
    """``vector_cosine_ops`` -> ``cosine``; None for a class that serves none of these metrics."""
    metric = operator_class.removesuffix("_ops").rpartition("_")[2]
    return metric if metric in OPERATORS else None
