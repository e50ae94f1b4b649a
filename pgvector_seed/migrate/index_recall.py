"""The recall of a declared index, measured with stored vectors and the readers' declared settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgvector_seed.common.errors import WrongResultError
from pgvector_seed.common.remedies import setting_name
from pgvector_seed.common.text import counted
from pgvector_seed.migrate.index_states import DeclaredState
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.snapshot import set_search_path
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.memory import build_session
from pgvector_seed.vectors.index.sample import build_on_sample
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import Recall, confidence_interval, measure_recall
from pgvector_seed.vectors.settings import setting_texts

QUERIES = 400
SECONDS = 30.0  # enough for a verdict on most tables; `verify` takes longer if it is given the time
_BYTES = "SELECT pg_catalog.pg_table_size(%s::pg_catalog.regclass)"


def refuse_low_recall(connection: Connection, ledger: Ledger, built: DeclaredState, report: Progress) -> None:
    """Raise WrongResultError if the recall of an index is certainly below its table's declared minimum.

    ``built`` is the index with its state before the build.
    """
    column = _searched_column(ledger, built.definition)
    _judge(connection, ledger, built, column, "", report)


def try_on_sample(connection: Connection, ledger: Ledger, planned: DeclaredState, rows: int, report: Progress) -> None:
    """Build an index on a copy of ``rows`` rows, and raise WrongResultError if its recall is too low.

    An ivfflat index without declared lists has fewer rows in each list than the table's own would have, so its recall
    is only reported.
    """
    definition = planned.definition
    is_lower = definition.method == "ivfflat" and "lists" not in definition.parameters
    with build_on_sample(connection, definition, rows) as copy:
        column = replace(_searched_column(ledger, definition), schema=copy.name.schema, table=copy.name.table)
        where = f" on a copy of {counted(copy.rows, 'row')}"
        _judge(connection, ledger, planned, column, where, report, is_lower=is_lower)


def _judge(
    connection: Connection,
    ledger: Ledger,
    planned: DeclaredState,
    column: VectorColumn,
    where: str,
    report: Progress,
    *,
    is_lower: bool = False,
) -> None:
    declared = ledger.declaration.tables[planned.definition.table].recall
    if declared is None:
        return
    with translated("measuring the recall"), build_session(connection):
        recall = _measure(connection, column, declared.k, ledger.declaration.reader_settings)
    if recall is None:
        return
    interval = f"{recall.mean:.3f}, between {recall.low:.3f} and {recall.high:.3f}"
    words = f"{planned.definition.name}: recall@{declared.k}{where} is {interval}"
    if recall.high < declared.minimum and is_lower:
        words += f"; {declared.minimum:g} is declared; with more rows in each list it is higher"
    elif recall.high < declared.minimum:
        before = f" Before: {planned.reason}." if planned.state.kind == "differs" else ""
        raise WrongResultError(
            f"{words}; {declared.minimum:g} is declared",
            f"Raise the search setting in {setting_name('readerSettings')}, or declare larger parameters.{before}",
        )
    report(words)


def _searched_column(ledger: Ledger, definition: IndexDefinition) -> VectorColumn:
    """Return the column as a query that the index serves has it."""
    entry = next(
        entry
        for entry in ledger.catalogue["tables"]
        if (entry["table"], entry["vector"]) == (definition.table, definition.column)
    )
    return VectorColumn(
        definition.schema,
        definition.table,
        definition.column,
        entry["type"],
        definition.metric,
        ledger.catalogue["schema"],
        entry.get("dimensions", 0),
        definition.cast,
        definition.bits,
    )


def _measure(connection: Connection, column: VectorColumn, k: int, settings: Mapping[str, Any]) -> Recall | None:
    """Return the recall with the readers' ``settings``, or None if no query has a neighbor."""
    end = time.monotonic() + SECONDS
    recalls: list[float] = []
    with connection.transaction(force_rollback=True):
        set_search_path(connection, "pg_catalog", "pg_temp")
        for name, value in setting_texts(settings).items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        ((size,),) = connection.execute(_BYTES, (column.relation.as_string(connection),)).fetchall()
        queries = sample_queries(connection, column, size, QUERIES)
        for recall in measure_recall(connection, column, queries, k):
            recalls.append(recall)
            if time.monotonic() > end:
                break
    return confidence_interval(recalls) if recalls else None
