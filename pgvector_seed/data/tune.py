"""Find the smallest search setting of an index that gives the wanted recall. Nothing is changed in the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from psycopg import errors

from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.common.text import counted
from pgvector_seed.data.asking import searching
from pgvector_seed.data.levels import ServingIndex, serving_index
from pgvector_seed.data.measuring import Measurement, ask_all, measure
from pgvector_seed.data.promise import Promise, read_promise
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, Search, find_search
from pgvector_seed.data.truth import Distances, true_distances
from pgvector_seed.data.tuning import Aim, Level, Reporter, Subject, Tuning
from pgvector_seed.data.tuning_queries import TuningQuery, queries_of_file, stored_queries
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.interrupt import raise_if_stopped
from pgvector_seed.vectors.recall import is_tie
from pgvector_seed.vectors.scan_settings import ScanSettings

DEFAULT_K, DEFAULT_TARGET = 10, 0.95
MORE_LEVELS = 2  # after the recommended one: they show what a higher recall would cost
Pair: TypeAlias = tuple[TuningQuery, Distances]
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


def tune(connection: Connection, question: Question, values: Sequence[object], aim: Aim, reporter: Reporter) -> Tuning:
    """Measure the recall of a search with one setting after the other, and recommend the smallest that is enough.

    All searches see one snapshot, exact ones and others. Call it outside of a transaction.

    Raises InputError if no index serves the search, or it has too few rows.
    """
    with _measuring():
        search = find_search(connection, replace(question, columns=()))
        promise = read_promise(connection, search.target)
        register(connection)
        with connection.transaction(force_rollback=True):
            connection.execute(_SNAPSHOT)
            return _Tuner(connection, search, values, aim, promise).run(reporter)


class _Tuner:
    def __init__(
        self, connection: Connection, search: Search, values: Sequence[object], aim: Aim, promise: Promise
    ) -> None:
        declared = promise.recall
        self.connection = connection
        self.search = search
        self.values = values
        self.aim = aim
        self.reader = promise.reader
        self.k = aim.k or (declared.k if declared else DEFAULT_K)
        if aim.file is None:
            self.k = max(self.k, 2)  # the query's own row takes a place
        self.target = aim.target if aim.target is not None else declared.minimum if declared else DEFAULT_TARGET

    def run(self, reporter: Reporter) -> Tuning:
        """Return the tuning."""
        queries = self._queries()
        self._set({})
        index = serving_index(self.connection, self.search, self._parameters(queries[0]))
        truth = self._truth(queries, reporter)
        half = len(queries) // 2
        others, is_file = len(queries) - half, self.aim.file is not None
        subject = Subject(self.search, index, self.k, self.target, half, others, self.reader, is_file)
        reporter.began(subject)
        return self._tuning(subject, list(zip(queries, truth, strict=True)), reporter)

    def _queries(self) -> list[TuningQuery]:
        if self.aim.file is not None:
            return queries_of_file(self.search, self.aim.file, self.aim.queries)
        return stored_queries(self.connection, self.search, self.aim.queries, self.values)

    def _parameters(self, query: TuningQuery) -> tuple[object, ...]:
        return (*self.values, query.vector, self.k)

    def _truth(self, queries: Sequence[TuningQuery], reporter: Reporter) -> list[Distances]:
        """Return the exact distances. Raises InputError if they cannot tell a good answer from a bad one."""
        vectors = [query.vector for query in queries]
        truth = true_distances(self.connection, self.search, vectors, self.k, self.values, reporter.progress)
        fewest = min(map(len, truth))
        if fewest < self.k:
            raise InputError(
                f"{counted(fewest, 'row')} can be neighbors, and k is {self.k}: every row is one",
                "Take a smaller k: -k N",
            )
        if self.k > 1 and all(is_tie(distances[0], distances[-1]) for distances in truth):
            raise InputError(
                f"the {self.k} nearest rows of each query are equally near, so any of them is right",
                "If the vectors are identical, check what was loaded.",
            )
        return truth

    def _set(self, values: dict[str, str]) -> None:
        """Set these settings, and those of every search, until the transaction ends."""
        settings = ScanSettings(self.search.settings.values | values)
        self.connection.execute(settings.statement, prepare=False)

    def _tuning(self, subject: Subject, pairs: list[Pair], reporter: Reporter) -> Tuning:
        """Measure the levels, from the smallest, until MORE_LEVELS after the recommended one."""
        first, others = pairs[: subject.choosing], pairs[subject.choosing :]
        tuning = Tuning(subject, [], None)
        for value in subject.index.levels(self.k):
            self._set(subject.index.with_value(value))
            if not self._is_served(first[0], is_first=not tuning.levels):
                note = f"from {subject.index.setting} = {value} on, PostgreSQL prefers to read the whole table"
                return replace(tuning, note=note)
            if not tuning.levels:  # warm up
                ask_all(self.connection, self.search, [query for query, _ in first], self.k, self.values)
            level = Level(value, self._measure(first))
            if tuning.recommended is None and level.measured.recall.low >= self.target:
                level = replace(level, confirmed=self._measure(others).recall)
            tuning = replace(tuning, levels=[*tuning.levels, level])
            reporter.measured(level)
            if level.confirmed and level.confirmed.mean >= self.target:
                tuning = replace(tuning, recommended=level, settings=self._settings(subject.index, value))
            if tuning.is_complete(MORE_LEVELS) and not self.aim.all_levels:
                break
        return tuning

    def _settings(self, index: ServingIndex, value: int | None) -> dict[str, str]:
        """Return the settings of a level that its index needs."""
        return index.own(self.search.settings.values | index.with_value(value))

    def _is_served(self, pair: Pair, *, is_first: bool) -> bool:
        """Return True if an index serves with the present settings. Raises InputError if even the first do not."""
        try:
            serving_index(self.connection, self.search, self._parameters(pair[0]))
        except InputError:
            if is_first:
                raise
            return False
        return True

    def _measure(self, pairs: Sequence[Pair]) -> Measurement:
        queries, truth = zip(*pairs, strict=True)
        return measure(self.connection, self.search, queries, truth, self.k, self.values)


@contextmanager
def _measuring() -> Iterator[None]:
    """Raise as ``searching``, and after the statement_timeout with a remedy of its own."""
    with searching("measuring the recall"):
        try:
            yield
        except errors.QueryCanceled as error:
            raise_if_stopped()
            raise WrongResultError(
                f"measuring the recall: {one_line(error)}", "Raise statement_timeout, or ask fewer: --queries N"
            ) from error
