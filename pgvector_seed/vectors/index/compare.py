"""The differences between a declared index and one in the catalog."""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.index.catalog import CatalogIndex, indexes_below
from pgvector_seed.vectors.index.target import IndexTarget
from pgvector_seed.vectors.indexes import INDEX_DEFAULTS
from pgvector_seed.vectors.metrics import OPERATORS

Value = int | float | str | bool

_BOOLEANS = {"on": "true", "yes": "true", "1": "true", "off": "false", "no": "false", "0": "false"}


def is_ours(target: IndexTarget, index: CatalogIndex) -> bool:
    """Return True if ``index`` is an index on the declared table and column."""
    return index.table == target.table and target.definition.column in index.columns


def differences(target: IndexTarget, index: CatalogIndex) -> list[str]:
    """Return the differences of ``index`` from the declaration in words. Parameters that are left out do not count."""
    return list(_differences(target, index))


def all_differences(connection: Connection, target: IndexTarget, index: CatalogIndex) -> list[str]:
    """Return the differences of an index from the declaration, and those of its partitions' indexes, in words."""
    words = differences(target, index)
    for part in indexes_below(connection, index.oid) if target.partitioned else ():
        words += [f"{printable(part.name)}: {difference}" for difference in differences(target, part)]
    return words


def _differences(target: IndexTarget, index: CatalogIndex) -> Iterator[str]:
    definition = target.definition
    if index.method != definition.method:
        yield f"the method is {index.method}, not {definition.method}"
    if index.keys != 1:
        yield f"it has {index.keys} columns, not 1"
    if index.expression != target.deparsed:
        indexed = index.expression or f"the column {definition.column}"
        yield f"it is on {indexed}, not on {target.deparsed or f'the column {definition.column}'}"
    if target.operator not in index.operators:
        names = {operator: metric for metric, operator in OPERATORS.items()}
        orders = ", ".join(names.get(operator, operator) for operator in index.operators) or "no distance"
        yield f"it orders by {orders}, not {names[target.operator]}"
    if index.partial:
        yield "it has a WHERE clause"
    if index.method == definition.method:
        yield from _different_parameters(target, index)


def _different_parameters(target: IndexTarget, index: CatalogIndex) -> Iterator[str]:
    values: dict[str, Value] = {**INDEX_DEFAULTS.get(target.definition.method, {}), **index.parameters}
    for name, declared in target.definition.parameters.items():
        if name not in values:
            yield f"{name} is not set, not {_text(declared)}"
        elif comparable(values[name], declared) != comparable(declared, declared):
            yield f"{name} is {values[name]}, not {_text(declared)}"


def comparable(value: Value, declared: Value) -> Value:
    """Return a parameter's value such that equal values of the type of ``declared`` are equal."""
    text = _text(value)
    if isinstance(declared, bool):
        return _BOOLEANS.get(text.lower(), text.lower())
    if isinstance(declared, int | float):
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
