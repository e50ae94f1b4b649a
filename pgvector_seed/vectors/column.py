"""A vector column, and the nearest-neighbor query on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import RawCursor, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.index.definition import indexed_expression, indexed_type
from pgvector_seed.vectors.metrics import OPERATORS

# Of an index on bits, this many candidates for each row of the result are ranked by their full vectors. Measured by an
# exact search of bits for 10 neighbors, with 20,000 generated vectors of 768 and of 1,536 dimensions: 4 times as many
# candidates, as in pgvector's README, have 0.95 to 0.99 of them, 10 times as many have all. (GloVe, 50 dimensions: 0.54
# and 0.67.) An HNSW index gives hnsw.ef_search candidates at most: up to 10 x k, that setting is the limit.
CANDIDATES = 10

# The distance is that of the full vectors, even if an index on a cast gives the order.
_NEAREST = """
SELECT {column} OPERATOR({operator}) {query} AS distance{columns}
FROM {table}{where}
ORDER BY {indexed_column} OPERATOR({operator}) {indexed_query}
LIMIT {k}
"""
_NEAREST_OF_CANDIDATES = """
SELECT embedding OPERATOR({operator}) {query} AS distance{aliases}
FROM (SELECT {column} AS embedding{columns} FROM {table}{where}
      ORDER BY {indexed_column} OPERATOR({hamming}) {indexed_query}
      LIMIT CAST({k} AS pg_catalog.int8) OPERATOR(pg_catalog.*) {candidates}) AS candidates
ORDER BY distance
LIMIT {k}
"""
# Iterative scans in relaxed order, and the order of a cast, are sorted again. Without an index, a vector that is NULL,
# or that has no direction under cosine, could be among the rows. From version 17 on, PostgreSQL leaves out a sort by
# the expression by which the index claims to order, so this sorts by another one.
_ANSWER = """
SELECT * FROM ({nearest}) AS nearest
WHERE distance OPERATOR(pg_catalog.<>) 'NaN'::pg_catalog.float8
ORDER BY distance OPERATOR(pg_catalog.+) 0::pg_catalog.float8
"""
# pgvector's function for the Euclidean length, by type.
_SIZES = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}


def fetch_all(connection: Connection, statement: sql.Composed, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query with ``values`` for $1, $2, ...: %s would clash with a percent sign in a name."""
    return RawCursor(connection).execute(statement, values).fetchall()


@dataclass(frozen=True)
class Selection:
    """The columns that a search returns beside the distance, and the condition on the rows that it searches, if any.

    ``condition`` is SQL without parameters of its own above those that the caller binds first.
    """

    columns: tuple[str, ...] = ()
    condition: sql.Composable | None = None

    @property
    def named(self) -> sql.Composable:
        """The columns for a select list, after a comma, under names that no column of a user can have."""
        pairs = zip(map(sql.Identifier, self.columns), self._aliases, strict=True)
        return sql.SQL("").join(sql.SQL(", {} AS {}").format(column, alias) for column, alias in pairs)

    @property
    def aliases(self) -> sql.Composable:
        """The names of ``named`` for a query around it, after a comma."""
        return sql.SQL("").join(sql.SQL(", {}").format(alias) for alias in self._aliases)

    @property
    def _aliases(self) -> list[sql.Identifier]:
        return [sql.Identifier(f"column{number}") for number in range(len(self.columns))]

    @property
    def where(self) -> sql.Composable:
        """The WHERE clause, with a space before, or nothing without a condition."""
        return sql.SQL("") if self.condition is None else sql.SQL(" WHERE {}").format(self.conjunct(self.condition))

    @staticmethod
    def conjunct(condition: sql.Composable) -> sql.Composed:
        """Return a condition in parentheses. It may end with a comment."""
        return sql.SQL("({}\n)").format(condition)


ALL_ROWS = Selection()


@dataclass(frozen=True)
class VectorColumn:
    """A searched column. ``type`` is vector, halfvec, sparsevec or bit, ``extension`` is pgvector's schema, and
    ``metric`` is None if unknown.

    ``cast`` and ``bits`` are those of the index that serves the readers (see IndexDefinition), and need ``dimensions``.

    All names in its queries are schema-qualified, so that they do not depend on the search_path.
    """

    schema: str
    table: str
    name: str
    type: str
    metric: str | None
    extension: str
    dimensions: int = 0
    cast: str | None = None
    bits: bool = False

    @property
    def relation(self) -> sql.Composable:
        """The quoted name of the table."""
        return sql.Identifier(self.schema, self.table)

    @property
    def distances(self) -> set[tuple[str, str]]:
        """The metric and the type of each distance in the reader's query: of the vectors, and in the index."""
        assert self.metric is not None
        ordering = "hamming" if self.bits else self.metric
        return {(self.metric, self.type), (ordering, indexed_type(self.type, cast=self.cast, bits=self.bits))}

    @property
    def operator(self) -> sql.Composable:
        """The operator of the metric, for OPERATOR(...)."""
        assert self.metric is not None
        return self._operator(self.metric)

    def _operator(self, metric: str) -> sql.Composable:
        return sql.SQL("{}.{}").format(sql.Identifier(self.extension), sql.SQL(OPERATORS[metric]))

    @property
    def type_name(self) -> sql.Composable:
        """The type without its dimensions. It is quoted, as unquoted bit means bit(1)."""
        return sql.Identifier("pg_catalog" if self.type == "bit" else self.extension, self.type)

    @property
    def size(self) -> sql.Composable:
        """An expression for the Euclidean length of the column's value; for bit, the number of set bits."""
        function = (
            sql.Identifier("pg_catalog", "bit_count")
            if self.type == "bit"
            else sql.Identifier(self.extension, _SIZES[self.type])
        )
        return sql.SQL("{}({})").format(function, sql.Identifier(self.name))

    @property
    def distance_to_itself(self) -> sql.Composed:
        """A query for the distance of $1 from itself: 0, except for inner products and rounding."""
        return sql.SQL("SELECT CAST($1 AS {type}) OPERATOR({operator}) CAST($1 AS {type})").format(
            type=self.type_name, operator=self.operator
        )

    def nearest(self, query: sql.Composable, k: sql.Composable, selection: Selection = ALL_ROWS) -> sql.Composed:
        """Return the reader's query: the distances of the ``k`` nearest to ``query``, a vector in text or binary form.

        An index on bits gives CANDIDATES x ``k`` rows, of which the full vectors' distances tell the ``k`` nearest.
        """
        vector = sql.SQL("CAST({} AS {})").format(query, self.type_name)
        return sql.SQL(_NEAREST_OF_CANDIDATES if self.bits else _NEAREST).format(
            column=sql.Identifier(self.name),
            columns=selection.named,
            aliases=selection.aliases,
            indexed_column=self._indexed(sql.Identifier(self.name)),
            operator=self.operator,
            hamming=self._operator("hamming"),
            query=vector,
            indexed_query=self._indexed(vector),
            table=self.relation,
            where=selection.where,
            candidates=sql.Literal(CANDIDATES),
            k=k,
        )

    def answer(self, query: sql.Composable, k: sql.Composable, selection: Selection = ALL_ROWS) -> sql.Composed:
        """Return the query of ``nearest`` in the order of the distances, without rows that have no distance."""
        return sql.SQL(_ANSWER).format(nearest=self.nearest(query, k, selection))

    def _indexed(self, vector: sql.Composable) -> sql.Composable:
        return indexed_expression(vector, self.dimensions, self.extension, cast=self.cast, bits=self.bits)
