"""Searching from Python: the nearest rows of a table, on a connection of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypedDict, Unpack, overload
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, BaseConnection

from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.data.answer import Neighbor, answering, parameters_of
from pgvector_seed.data.asking import PathError, run, run_async
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, Search, find_search
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sharing import in_thread, on_view

_MOST_SEARCHES = 256  # of a connection: a program that writes values into its conditions makes a search for each


@dataclass
class _Known:
    """The searches of one connection. Its threads or tasks take turns: a pipeline cannot be shared."""

    searches: dict[Question, Search] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    async_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def keep(self, connection: BaseConnection[Any], question: Question, search: Search) -> Search:
        """Keep a search for the next question, and return it."""
        register(connection)
        if len(self.searches) >= _MOST_SEARCHES:
            self.searches.clear()
        self.searches[question] = search
        return search

    @contextmanager
    def forgotten_after_error(self) -> Iterator[None]:
        """Forget the searches after an error in the block: the table may have another shape now."""
        try:
            with translated("searching"):
                yield
        except UnicodeEncodeError as error:
            raise InputError(f"the search has text that cannot be encoded for the server: {error}") from error
        except Error:
            self.searches.clear()
            raise

    @contextmanager
    def forgotten_on_another_path(self) -> Iterator[None]:
        """Forget the searches, and end the block without an error, if the search_path has changed since then."""
        try:
            yield
        except PathError:
            self.searches.clear()


_known: WeakKeyDictionary[BaseConnection[Any], _Known] = WeakKeyDictionary()


class SearchOptions(TypedDict, total=False):
    """The keyword arguments of ``nearest``."""

    k: int
    where: str | None
    values: Sequence[Any]
    columns: Sequence[str] | None
    column: str | None
    metric: str | None
    ef_search: int | None
    probes: int | None
    exact_fallback: bool


@overload
def nearest(
    connection: psycopg.Connection[Any], table: str, vector: Any, **options: Unpack[SearchOptions]
) -> list[Neighbor]: ...


@overload
def nearest(
    connection: AsyncConnection[Any], table: str, vector: Any, **options: Unpack[SearchOptions]
) -> Awaitable[list[Neighbor]]: ...


def nearest(
    connection: psycopg.Connection[Any] | AsyncConnection[Any],
    table: str,
    vector: Any,
    *,
    k: int = 10,
    where: str | None = None,
    values: Sequence[Any] = (),
    columns: Sequence[str] | None = None,
    column: str | None = None,
    metric: str | None = None,
    ef_search: int | None = None,
    probes: int | None = None,
    exact_fallback: bool = False,
) -> list[Neighbor] | Awaitable[list[Neighbor]]:
    """Return the ``k`` rows of a table that are nearest to ``vector``, nearest first; await it on an AsyncConnection.

    ``table`` is a name as in SQL. ``vector`` is a list or an array of numbers, an object of the package pgvector, or
    text such as [1,2,3]. ``where`` is an SQL condition with $1, $2 and so on for ``values``: never put a value into it.
    ``columns`` are returned beside the key; None returns all but the vectors. ``column`` names the vector
    column if there are several. ``metric`` is l2, ip, cosine or l1, or hamming or jaccard for bits; if it is None, that
    of the contract or of the column's index. ``ef_search`` is for an HNSW index, ``probes`` for an IVFFlat one.

    An index is scanned until it has given ``k`` rows, or pgvector's limits end the scan. With ``exact_fallback``, all
    rows are then searched, for 30 seconds at most.

    The search is read-only, and its settings end with its transaction, or its savepoint in a transaction of the caller.
    The table is looked up at its first search on a connection, and again after an error or another search_path.
    Threads or tasks that share a connection take turns.

    Raises InputError for a bad argument, UnreachableError if the connection is lost, WrongResultError if the server
    fails.
    """
    for name, argument in (("values", values), ("columns", columns)):
        if isinstance(argument, str):
            raise InputError(f"{name} is a text and not a sequence", f"Put it into a list: [{argument!r}]")
    question = Question(
        table, column, metric, where, len(values), None if columns is None else tuple(columns), ef_search, probes
    )
    known = _known.setdefault(connection, _Known())
    if isinstance(connection, AsyncConnection):
        return _nearest_async(connection, known, question, vector, k, values, fallback=exact_fallback)

    def ask() -> list[Neighbor]:
        search = known.searches.get(question)
        if search is None:
            search = known.keep(connection, question, on_view(connection, find_search, question))
        parameters = parameters_of(search, vector, k, values)
        return run(connection, answering(search, parameters, fallback=exact_fallback)).neighbors

    with known.lock, known.forgotten_after_error():
        with known.forgotten_on_another_path():
            return ask()
        return ask()


async def _nearest_async(
    connection: AsyncConnection[Any],
    known: _Known,
    question: Question,
    vector: Any,
    k: int,
    values: Sequence[Any],
    *,
    fallback: bool,
) -> list[Neighbor]:
    async def ask() -> list[Neighbor]:
        search = known.searches.get(question)
        if search is None:
            search = known.keep(connection, question, await in_thread(connection, find_search, question))
        parameters = parameters_of(search, vector, k, values)
        return (await run_async(connection, answering(search, parameters, fallback=fallback))).neighbors

    async with known.async_lock:
        with known.forgotten_after_error():
            with known.forgotten_on_another_path():
                return await ask()
            return await ask()
