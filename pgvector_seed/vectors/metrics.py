"""pgvector's distances: the name, the operator, and the operator class that serves it.

Source: the sections "Querying", "Indexing" and "Binary Vectors" of pgvector's README.
"""

OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}


def metric_of(operator_class: str) -> str | None:
    """``vector_cosine_ops`` -> ``cosine``; None for a class that serves none of these metrics."""
    metric = operator_class.removesuffix("_ops").rpartition("_")[2]
    return metric if metric in OPERATORS else None
