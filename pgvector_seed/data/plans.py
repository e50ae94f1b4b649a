"""The vector index that serves a search with its parameters, or the reason why none does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pgvector_seed.data.asking import searching
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.explain import plan_asked
from pgvector_seed.vectors.index_use import IndexUse, find_index_use
from pgvector_seed.vectors.tables import large_leaves, leaves
from pgvector_seed.vectors.unusable import Cause, Searched


def plan_of(connection: Connection, search: Search, parameters: Sequence[Any], *, exact: bool = False) -> IndexUse:
    """Return the vector indexes that serve a search with these parameters, or the reason why none does.

    An ``exact`` search uses none. Raises InputError if the server refuses the parameters.
    """
    if exact:
        return IndexUse((), Cause.EXACT, "an exact search reads all rows")
    target = search.target
    assert search.column.metric is not None
    with searching(), connection.transaction(force_rollback=True):
        connection.execute(search.settings.statement)
        parts = leaves(connection, target.oid)
        large = large_leaves(connection, target.sql_name, parts)
        searched = Searched(target.shown, target.vector.name, search.column.metric, search.indexes, parts, large)
        explain = partial(plan_asked, connection, search.statement, parameters)
        return find_index_use(connection, explain, searched)
