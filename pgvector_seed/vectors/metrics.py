"""pgvector's metrics, with their operators and operator classes.

Source: the sections "Querying", "Indexing" and "Binary Vectors" of pgvector's README.
"""

OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}


def metric_of(operator_class: str) -> str | None:
    """Return the metric of an operator class, such as cosine for vector_cosine_ops, or None for another class."""
    metric = operator_class.removesuffix("_ops").rpartition("_")[2]
    return metric if metric in OPERATORS else None
