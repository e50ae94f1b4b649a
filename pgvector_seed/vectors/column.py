"""A vector column, and the nearest-neighbor query on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import RawCursor, sql

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.metrics import OPERATORS

_NEAREST = """
SELECT {column} OPERATOR({operator}) CAST({query} AS {type}) AS distance
FROM {table}
ORDER BY {column} OPERATOR({operator}) CAST({query} AS {type})
LIMIT {k}
"""
# pgvector's function for the Euclidean length, by type.
_SIZES = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}


def fetch_all(connection: Connection, statement: sql.Composed, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query with ``values`` for $1, $2, ...: %s would clash with a percent sign in a name."""
    return RawCursor(connection).execute(statement, values).fetchall()


@dataclass(frozen=True)
class VectorColumn:
    """A searched column. ``type`` is vector, halfvec, sparsevec or bit, ``extension`` is pgvector's schema, and
    ``metric`` is None if unknown.

    All names in its queries are schema-qualified, so that they do not depend on the search_path.
    """

    schema: str
    table: str
    name: str
    type: str
    metric: str | None
    extension: str

    @property
    def relation(self) -> sql.Composable:
        """The quoted name of the table."""
        return sql.Identifier(self.schema, self.table)

    @property
    def operator(self) -> sql.Composable:
        """The operator of the metric, for OPERATOR(...)."""
        assert self.metric is not None
        return sql.SQL("{}.{}").format(sql.Identifier(self.extension), sql.SQL(OPERATORS[self.metric]))

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

    def nearest(self, query: sql.Composable, k: sql.Composable) -> sql.Composed:
        """Return the reader's query: the distances of the ``k`` nearest to ``query``, a vector in text form."""
        return sql.SQL(_NEAREST).format(
            column=sql.Identifier(self.name),
            operator=self.operator,
            type=self.type_name,
            table=self.relation,
            query=query,
            k=k,
        )
