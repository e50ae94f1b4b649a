"""The recall of the reader's query with a condition: the rows with one value of a column."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.common.text import printable
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import (
    CONFIDENCE,
    Recall,
    confidence_interval,
    reader_distances,
    recall_of_stored,
    true_distances_of,
)

from ..context import Context
from ..deadline import OutOfTimeError
from ..sampling import scan_or_sample

QUERIES = 40  # for each value
_OF_EACH_KIND = 4  # values: the most frequent, and the rarest
_BLOCKS = 10_000  # of a sample
_FEWEST_QUERIES = 10
_SHARE_OF_TIME = 1 / 6

# The type of the column without a domain, and its operator: that of an index, or one in pg_catalog for a type that is
# compared as another, such as varchar or an enum. Only for these, no user's function runs: a domain of a domain has
# checks, and a composite type casts. So the text of a value is not made by a cast, either.
_FILTER = """
SELECT tn.nspname, t.typname, coalesce(n.nspname, 'pg_catalog'), coalesce(o.oprname, '=')
FROM pg_attribute a
JOIN pg_type own ON own.oid = a.atttypid
JOIN pg_type t ON t.oid = CASE WHEN own.typtype = 'd' THEN own.typbasetype ELSE own.oid END
JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_opclass c ON c.opcintype = t.oid AND c.opcdefault
                      AND c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
LEFT JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoplefttype = t.oid
                   AND m.amoprighttype = t.oid
LEFT JOIN pg_operator o ON o.oid = m.amopopr
LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE a.attrelid = %s AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype IN ('b', 'e')
"""
_CONDITION = "{filter} OPERATOR({operator}) CAST($1 AS {type})"
_VALUES = """
WITH sizes AS MATERIALIZED (
  SELECT pg_catalog.format('%s', {filter}) AS value, count(*) AS size
  FROM {table} {sample} WHERE {filter} IS NOT NULL AND {column} IS NOT NULL
  GROUP BY {filter} HAVING count(*) >= {k})
SELECT value
FROM ((SELECT value, size FROM sizes ORDER BY size DESC, value LIMIT {most})
      UNION (SELECT value, size FROM sizes ORDER BY size, value DESC LIMIT {most})) AS picked
ORDER BY size, value
"""


class RecallOfValue(NamedTuple):
    """A value of the column, quoted for SQL, and the recall of the queries that ask for its rows."""

    value: str
    recall: Recall


def find_filter(context: Context, name: str) -> sql.Composed | None:
    """Return the condition that the column is $1, or None if it does not exist, or its type has no plain values."""
    row = context.connection.execute(_FILTER, (context.table.oid, name)).fetchone()
    if row is None:
        return None
    return sql.SQL(_CONDITION).format(
        filter=sql.Identifier(name),
        operator=sql.SQL("{}.{}").format(sql.Identifier(row[2]), sql.SQL(row[3])),
        type=sql.Identifier(row[0], row[1]),
    )


def recalls_by_value(context: Context, column: VectorColumn, name: str, k: int) -> list[RecallOfValue]:
    """Return the recall of a sample of the values that have ``k`` rows, in the reader's transaction.

    A query is a stored vector with the value, and its answer has the rows with the value alone. The intervals hold
    together: each is as wide as so many need. Raises NotAllowedError, or OutOfTimeError if the time is over after fewer
    than 10 queries for a value.
    """
    context.require_select(column.name, name)
    condition = find_filter(context, name)
    assert condition is not None
    k = max(k, 2)
    values = _values(context, column, name, k)
    end = time.monotonic() + _SHARE_OF_TIME * context.deadline.seconds_left
    queries = [
        sample_queries(context.connection, column, context.size_in_bytes, QUERIES, condition, (value,))
        for value in values
    ]
    recalls: list[list[float]] = [[] for _ in values]
    for number in range(QUERIES):
        for value, asked, measured in zip(values, queries, recalls, strict=True):
            recall = _recall(context, column, asked[number], k, condition, value) if number < len(asked) else None
            measured += [] if recall is None else [recall]
        if time.monotonic() > end and any(number + 1 < len(asked) for asked in queries):
            if number + 1 < _FEWEST_QUERIES:
                raise OutOfTimeError(
                    f"only {number + 1} queries for each {name} could be run in a sixth of the time left"
                )
            break
    return _intervals(values, recalls)


def _values(context: Context, column: VectorColumn, name: str, k: int) -> list[str]:
    """Return the most frequent and the rarest values that have ``k`` rows, as text."""

    def scan(sample: sql.Composable) -> list[str]:
        statement = sql.SQL(_VALUES).format(
            filter=sql.Identifier(name),
            table=column.relation,
            sample=sample,
            column=sql.Identifier(column.name),
            k=k,
            most=_OF_EACH_KIND,
        )
        return [value for (value,) in context.connection.execute(statement)]

    with context.connection.transaction(force_rollback=True):  # resets the timeout of the scan
        values, _, _ = scan_or_sample(context, _BLOCKS, scan)
    return values


def _recall(
    context: Context, column: VectorColumn, query: str, k: int, condition: sql.Composable, value: str
) -> float | None:
    connection = context.connection
    distances = reader_distances(connection, column, query, k, condition, (value,))
    truth = true_distances_of(connection, column, query, k, condition, (value,))
    return recall_of_stored(connection, column, query, distances, truth)


def _intervals(values: Sequence[str], recalls: Sequence[list[float]]) -> list[RecallOfValue]:
    measured = [(value, of_value) for value, of_value in zip(values, recalls, strict=True) if of_value]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(measured))
    return [
        RecallOfValue(printable(sql.Literal(value).as_string()), confidence_interval(of_value, confidence))
        for value, of_value in measured
    ]
