"""pgvector's metrics, with their operators.

Source: the sections "Querying" and "Binary Vectors" of pgvector's README.
"""

OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}

METRICS_OF_VECTORS = ("l2", "ip", "cosine", "l1")
METRICS_OF_BITS = ("hamming", "jaccard")

_METRICS = {operator: metric for metric, operator in OPERATORS.items()}


def metric_of(operator: str) -> str:
    """Return the metric of a distance operator, such as cosine for <=>."""
    return _METRICS[operator]
