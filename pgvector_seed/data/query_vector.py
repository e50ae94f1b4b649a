"""A query vector as a parameter of a search, in the binary form of its column's type."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pgvector import Bit, HalfVector, SparseVector, Vector
from psycopg import BaseConnection, pq
from psycopg.adapt import Dumper

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.target import TargetColumn

CLASSES: dict[str, Any] = {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector, "bit": Bit}
_EXAMPLES = {"sparsevec": "{1:0.5,3:0.25}/4", "bit": "0101"}
_EXAMPLE = "[0.3, 0.1, 0.6, 0.5]"


@dataclass(frozen=True)
class QueryVector:
    """A vector in the server's binary form."""

    data: bytes


def from_text(type_: str, text: str) -> QueryVector:
    """Return a stored vector, as the server wrote it in text, as a query vector."""
    return QueryVector(CLASSES[type_].from_text(text).to_binary())


class _QueryVectorDumper(Dumper):
    """Sends a QueryVector as it is. The server takes its type from the cast around the parameter."""

    format = pq.Format.BINARY

    def dump(self, obj: QueryVector) -> bytes:
        return obj.data


def register(connection: BaseConnection[Any]) -> None:
    """Let a connection send a QueryVector. Nothing else changes for its other statements."""
    connection.adapters.register_dumper(QueryVector, _QueryVectorDumper)


def query_vector(column: TargetColumn, metric: str | None, vector: Any) -> QueryVector:
    """Return a query vector: numbers in a list or an array, an object of the package pgvector, or its text form.

    Raises InputError if it does not fit the type and the dimensions of the column, or has no distance by the metric.
    """
    if isinstance(vector, QueryVector):
        return vector
    value = _as_value(column, vector)
    # The list of a sparse vector would have all its zeros: up to 1,000,000,000.
    numbers = value.values() if isinstance(value, SparseVector) else value.to_list()
    dimensions = dimensions_of(value)
    declared = column.modifier
    if declared > 0 and dimensions != declared:
        raise InputError(f"the query has {dimensions:,} dimensions, {column.name} has {declared:,}")
    if not dimensions:
        raise InputError("the query has no dimensions")
    if not math.isfinite(sum(numbers)):
        raise InputError(f"the query has a number that {column.type} cannot hold: NaN, infinite or too large")
    if metric == "cosine" and not any(numbers):
        raise InputError("the query is a zero vector, which has no direction and so no cosine distance to any row")
    return QueryVector(value.to_binary())


def dimensions_of(value: Any) -> int:
    """Return the dimensions of an object of the package pgvector."""
    return len(value.to_list()) if isinstance(value, Bit) else int(value.dimensions())


def _as_value(column: TargetColumn, vector: Any) -> Any:
    of_type = CLASSES[column.type]
    if isinstance(vector, of_type):
        return vector
    try:
        if isinstance(vector, str):
            return of_type.from_text(_in_brackets(column, vector))
        is_array = hasattr(vector, "__array__") or not isinstance(vector, Iterable)
        return of_type(vector if is_array else list(vector))
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        words = str(error).replace("expected list[float]", "not every element is a number")
        example = _EXAMPLES.get(column.type, _EXAMPLE)
        raise InputError(f"the query is no {column.type}: {words}", f"Such as {example}") from error


def _in_brackets(column: TargetColumn, text: str) -> str:
    """Return the text form of a vector. pgvector's package drops the first and the last character, whatever they are.

    Raises ValueError if the brackets are missing.
    """
    text = text.strip()
    if "_" in text:
        raise ValueError("it has an underscore, which Python alone takes in a number")
    if column.type in ("vector", "halfvec") and not (text.startswith("[") and text.endswith("]")):
        raise ValueError("it is not in brackets")
    if column.type == "sparsevec" and not (text.startswith("{") and "}/" in text):
        raise ValueError("it is not in braces, with the dimensions after them")
    return text
