"""A search: the statements for the nearest rows of one table, made once and asked many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean
from pgvector_seed.data.condition import parse_condition
from pgvector_seed.data.form import searched_column
from pgvector_seed.data.target import VECTOR_TYPES, Target, find_target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import Selection, VectorColumn
from pgvector_seed.vectors.exact import exact
from pgvector_seed.vectors.indexes import ColumnIndex, indexes_on_column
from pgvector_seed.vectors.metrics import METRICS_OF_BITS, METRICS_OF_VECTORS
from pgvector_seed.vectors.scan_settings import PATH, ScanSettings, find_scan_settings


@dataclass(frozen=True)
class Question:
    """A table with what a search asks of it, but for the vector and k. Equal questions have equal searches.

    ``where`` is an SQL condition with the parameters $1 to $``values``. ``columns`` are those of the answer, or None
    for all but the key and the vectors. If ``metric`` is None, it is that of the contract or of an index.
    """

    table: str | None = None
    column: str | None = None
    metric: str | None = None
    where: str | None = None
    values: int = 0
    columns: tuple[str, ...] | None = None
    ef_search: int | None = None
    probes: int | None = None


@dataclass(frozen=True)
class Search:
    """The statements of a question. Their parameters are the condition's values, the query vector and k.

    ``columns`` are those of the answer after the distance: the key, then the others. ``indexes`` are the vector indexes
    of the column. ``path`` is the PATH on which the table was found.
    """

    target: Target
    column: VectorColumn
    selection: Selection
    values: int
    settings: ScanSettings
    indexes: tuple[ColumnIndex, ...]
    path: bytes

    @cached_property
    def statement(self) -> bytes:
        """The query of the nearest rows, as the planner would answer it: by an index, if it sees one."""
        return self.column.answer(*self._parameters, self.selection).as_bytes()

    @cached_property
    def exact_statement(self) -> bytes:
        """The query of the nearest of all rows, without an index."""
        return exact(self.column, *self._parameters, self.selection).as_bytes()

    @property
    def _parameters(self) -> tuple[sql.SQL, sql.SQL]:
        return sql.SQL(f"${self.values + 1}"), sql.SQL(f"${self.values + 2}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the answer's columns beside the distance and the key."""
        return self.selection.columns[len(self.target.key) :]


def find_search(connection: Connection, question: Question) -> Search:
    """Return the search for a question. Raises InputError for a bad table, column, metric, condition or setting."""
    with connection.transaction():
        target = find_target(connection, question.table, question.column)
        metric = _metric(target, question.metric)
        indexes = tuple(indexes_on_column(connection, target.oid, target.vector.number))
        condition = None
        if question.where is not None:
            condition = parse_condition(connection, target.sql_name, question.where, question.values)
        elif question.values:
            raise InputError("there are values, and no condition that has them", "Give the condition: label = $1")
        column = searched_column(connection, target, metric, indexes, condition, question.values)
        settings = find_scan_settings(connection, target.extension, question.ef_search, question.probes)
        path = _first_value(connection.execute(sql.SQL("SELECT ") + PATH))
    selection = Selection((*target.key, *_columns(target, question.columns)), condition)
    return Search(target, column, selection, question.values, settings, indexes, path)


def _first_value(cursor: psycopg.Cursor[Any]) -> bytes:
    """Return the first value of a result as the server sent it."""
    value = cursor.pgresult.get_value(0, 0) if cursor.pgresult else None
    assert value is not None
    return value


def _metric(target: Target, metric: str | None) -> str:
    """Return the metric of a search. Raises InputError if nothing tells it, or the type has no such metric."""
    metrics = METRICS_OF_BITS if target.vector.type == "bit" else METRICS_OF_VECTORS
    chosen = metric or target.metric
    if chosen is None:
        raise InputError(
            f"neither the contract nor an index tells the metric of {target.shown}",
            f"Name one by --metric: {', '.join(metrics)}",
        )
    if chosen not in metrics:
        near = did_you_mean(chosen, metrics)
        raise InputError(f"{target.vector.type} has no metric {chosen}{near}", f"Its metrics: {', '.join(metrics)}")
    return chosen


def _columns(target: Target, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns of the answer beside the key. Raises InputError for a column that does not exist."""
    if names is None:
        kept = [c.name for c in target.columns.values() if c.type not in VECTOR_TYPES and c is not target.vector]
        return tuple(name for name in kept if name not in target.key)
    return tuple(target.require_column(name).name for name in names if name not in target.key)
