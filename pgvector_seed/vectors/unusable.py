"""The faults of vector indexes in the catalog: those for which none can serve a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.catalog import find_builder
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.indexes import ColumnIndex
from pgvector_seed.vectors.metrics import OPERATORS, metric_of
from pgvector_seed.vectors.tables import Leaf


class Cause(StrEnum):
    """The cause if no vector index serves a search."""

    NO_INDEX = "no index"
    METRIC = "metric"
    BROKEN = "broken"
    CONDITION = "condition"
    SMALL = "small"
    SETTING = "setting"
    COSTS = "costs"
    EXACT = "exact"


@dataclass(frozen=True)
class Searched:
    """The table of a search: its name for a message, its vector indexes, and the partitions that count.

    ``indexes`` are those on the searched column. ``leaves`` are all partitions, ``large`` those with LARGE rows.
    """

    table: str
    column: str
    metric: str
    indexes: Sequence[ColumnIndex]
    leaves: Sequence[Leaf]
    large: Sequence[Leaf]

    @property
    def usable(self) -> list[ColumnIndex]:
        """The indexes that could serve, by their metric and their state."""
        return [index for index in self.indexes if index.serves(OPERATORS[self.metric]) and not index.is_broken]


def find_fault(connection: Connection, searched: Searched) -> tuple[Cause, str] | None:
    """Return the cause and the reason if the catalog alone tells that no index can serve the search, or None."""
    metric = searched.metric
    if not searched.indexes:
        return Cause.NO_INDEX, f"{searched.table} has no vector index on {printable(searched.column)}"
    serving = [index for index in searched.indexes if index.serves(OPERATORS[metric])]
    if not serving:
        words = "; ".join(map(_of_other_metric, searched.indexes))
        return Cause.METRIC, f"no index is for {metric}: {words}"
    if all(index.is_broken for index in serving):
        return Cause.BROKEN, "; ".join(_broken(connection, index) for index in serving)
    return None


def _of_other_metric(index: ColumnIndex) -> str:
    metrics = ", ".join(metric_of(operator) for operator in index.operators if operator in OPERATORS.values())
    return f"{printable(index.name)} is for {metrics} ({printable(index.operator_class)}) alone"


def _broken(connection: Connection, index: ColumnIndex) -> str:
    builder = find_builder(connection, index.oid)
    if builder:
        return f"{printable(index.name)} is being built, by server process {builder.pid}"
    return f"{printable(index.name)} is invalid: its build was interrupted, or a partition has no such index"


def why_not(usable: Iterable[ColumnIndex], shown: str) -> str:
    """Return why the planner cannot use these indexes, whatever its settings. ``shown`` are their names."""
    partial = [
        f"{printable(index.name)} has only rows with {printable(index.predicate)}"
        for index in usable
        if index.predicate is not None
    ]
    if partial:
        return f"the condition does not imply that of a partial index: {'; '.join(partial)}"
    return f"the planner cannot use {shown} for this search"
