"""The definition of a declared vector index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

NEW, OLD = "_new", "_old"  # suffixes of an index that is being built, and of one that was replaced
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


def indexed_type(type_: str, *, cast: str | None, bits: bool) -> str:
    """Return the type of the indexed expression: that of the column, of its cast, or bit."""
    return "bit" if bits else cast or type_


def indexed_expression(
    column: sql.Composable, dimensions: int, extension: str, *, cast: str | None, bits: bool
) -> sql.Composable:
    """Return the expression that an index is on, without parentheses around it. ``extension`` is pgvector's schema.

    A query is served by the index only if it has the same expression.
    """
    if bits:
        quantized = sql.SQL("{}({})").format(sql.Identifier(extension, "binary_quantize"), column)
        return sql.SQL("CAST({} AS pg_catalog.bit({}))").format(quantized, sql.Literal(dimensions))
    if cast:
        return sql.SQL("CAST({} AS {}({}))").format(column, sql.Identifier(extension, cast), sql.Literal(dimensions))
    return column


def with_suffixes(names: Iterable[str]) -> set[str]:
    """Return the names, and those that the indexes have while they are replaced."""
    return {f"{name}{suffix}" for name in names for suffix in ("", NEW, OLD)}
