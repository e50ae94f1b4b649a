"""The nearest-neighbour query: for which column, and in which words."""

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
# The size of a vector, 0 for one without direction. pgvector names it differently for each type.
_SIZES = {"vector": "vector_norm", "halfvec": "l2_norm", "sparsevec": "l2_norm"}


def ask(connection: Connection, statement: sql.Composed, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a query with $1, $2, ... for its values: a name in it may have a per cent sign."""
    return RawCursor(connection).execute(statement, values).fetchall()


@dataclass(frozen=True)
class VectorColumn:
    """A column that is searched. ``type`` is vector, halfvec, sparsevec or bit; ``extension`` pgvector's schema,
    ``metric`` None where nobody said which.

    Everything is named with its schema, so that no search_path has a say in what is asked.
    """

    schema: str
    table: str
    name: str
    type: str
    metric: str | None
    extension: str

    @property
    def relation(self) -> sql.Composable:
        """The table."""
        return sql.Identifier(self.schema, self.table)

    @property
    def operator(self) -> sql.Composable:
        """The operator of the metric, for OPERATOR(...)."""
        assert self.metric is not None
        return sql.SQL("{}.{}").format(sql.Identifier(self.extension), sql.SQL(OPERATORS[self.metric]))

    @property
    def type_name(self) -> sql.Composable:
        """The type without its dimensions. In quotes, bit is not cut to one bit."""
        return sql.Identifier("pg_catalog" if self.type == "bit" else self.extension, self.type)

    @property
    def size(self) -> sql.Composable:
        """An expression for the size of the column's value: its length, or how many bits are set."""
        function = (
            sql.Identifier("pg_catalog", "bit_count")
            if self.type == "bit"
            else sql.Identifier(self.extension, _SIZES[self.type])
        )
        return sql.SQL("{}({})").format(function, sql.Identifier(self.name))

    @property
    def distance_to_itself(self) -> sql.Composed:
        """A query for the distance of $1 from itself: 0, but for inner products and for rounding."""
        return sql.SQL("SELECT CAST($1 AS {type}) OPERATOR({operator}) CAST($1 AS {type})").format(
            type=self.type_name, operator=self.operator
        )

    def nearest(self, query: sql.Composable, k: sql.Composable) -> sql.Composed:
        """The reader's query: the distances of the ``k`` nearest to ``query``, a text in the type's own syntax."""
        return sql.SQL(_NEAREST).format(
            column=sql.Identifier(self.name),
            operator=self.operator,
            type=self.type_name,
            table=self.relation,
            query=query,
            k=k,
        )
