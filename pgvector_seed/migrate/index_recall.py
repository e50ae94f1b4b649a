"""The recall of a declared index, measured with stored vectors and the readers' declared settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pgvector_seed.common.errors import WrongResultError
from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.definition import IndexDefinition
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import Recall, confidence_interval, measure_recall

QUERIES = 400
SECONDS = 30.0  # enough for a verdict on most tables; `verify` measures for longer if it is given the time


def searched_column(definition: IndexDefinition, entry: Mapping[str, Any], extension: str) -> VectorColumn:
    """Return the column as a query served by the index has it. ``entry`` is the column's of the catalog."""
    return VectorColumn(
        definition.schema,
        definition.table,
        definition.column,
        entry["type"],
        definition.metric,
        extension,
        entry.get("dimensions", 0),
        definition.cast,
        definition.bits,
    )


def refuse_low_recall(
    connection: Connection,
    column: VectorColumn,
    declared: DeclaredRecall,
    settings: Mapping[str, Any],
    size: int,
    before: str,
) -> None:
    """Raise WrongResultError if the recall is certainly below the declared minimum.

    ``settings`` are the readers', ``size`` is the table's in bytes, and ``before`` tells what was replaced.
    """
    with connection.transaction(force_rollback=True):
        for name, value in settings.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, str(value)))
        recall = _measure(connection, column, declared, size)
    if recall is not None and recall.high < declared.minimum:
        raise WrongResultError(
            f"{column.table}: recall@{declared.k} is {recall.mean:.3f}, between {recall.low:.3f} and {recall.high:.3f}, "
            f"and must be {declared.minimum:g}",
            f"Raise the search setting in readerSettings, or declare larger parameters. {before}",
        )


def _measure(connection: Connection, column: VectorColumn, declared: DeclaredRecall, size: int) -> Recall | None:
    end = time.monotonic() + SECONDS
    recalls: list[float] = []
    for recall in measure_recall(connection, column, sample_queries(connection, column, size, QUERIES), declared.k):
        recalls.append(recall)
        if time.monotonic() > end:
            break
    return confidence_interval(recalls) if recalls else None
