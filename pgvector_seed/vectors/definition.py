"""The definition of a declared vector index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_NAME = 59  # bytes; PostgreSQL's limit of 63 without the suffixes _new and _old


@dataclass(frozen=True)
class IndexDefinition:
    """A declared index on one vector column of a table. Names are not quoted.

    ``cast`` is the type of the indexed expression if the index is on a cast of the column, such as halfvec. ``bits``
    is True for an index on binary_quantize of the column. ``parameters`` are the declared ones: a parameter that is
    left out has the method's default, or is chosen when the index is built, and is not compared.
    """

    schema: str
    table: str
    name: str
    column: str
    method: str
    metric: str
    parameters: Mapping[str, int | float | str | bool]
    cast: str | None = None
    bits: bool = False
