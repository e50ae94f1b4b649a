"""The statements of a build, each with its report, its memory, and the other sessions that it waits for."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress

import psycopg
from psycopg import errors, sql

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.common.text import duration, printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import is_connection_lost, one_line, translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.watch import Watch
from pgvector_seed.vectors.index.catalog import CatalogIndex, named_indexes
from pgvector_seed.vectors.index.lock import wait_for_builders, with_short_locks
from pgvector_seed.vectors.index.memory import (
    BuildSettings,
    estimate_memory,
    lists_for,
    megabytes,
    plan_settings,
    settings_applied,
)
from pgvector_seed.vectors.index.rows import estimate_rows, vector_bytes
from pgvector_seed.vectors.index.statement import CONCURRENTLY, ONLY, create_statement
from pgvector_seed.vectors.index.target import IndexTarget

_SETTING = f"{setting_name('indexMemory')} (--memory)"
_SHARED_MEMORY = "dsm_impl.c"
_NO_LONGER_FITS = re.compile(r"hnsw graph no longer fits into maintenance_work_mem after (\d+) tuples")


class IndexWork:
    """Creates and drops indexes in a session that holds the lock ``key`` of the index."""

    def __init__(self, connection: Connection, shown: str, report: Progress, key: int) -> None:
        self.connection = connection
        self.shown = shown
        self.report = report
        self.watch = Watch(connection, report, key, self._explain)
        self._settings: BuildSettings | None = None
        self._rows = 0

    def drop(self, index: CatalogIndex, relations: Sequence[int] = ()) -> None:
        """Drop an index without blocking queries.

        That of a partitioned table cannot be dropped concurrently: it is dropped once all its ``relations``, the
        tables and indexes, are free at the same time.
        """
        name = printable(f"{index.schema}.{index.name}")
        self.report(f"{name}: dropping the {'' if index.valid else 'invalid '}index")
        with translated(f"dropping {name}"), self.watch.running(f"{name}: dropping"):
            if relations:
                drop = sql.SQL("DROP INDEX {}").format(index.sql_name)
                self.with_short_locks(relations, drop)
            else:
                self.connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index.sql_name))

    def with_short_locks(self, relations: Sequence[int], *statements: sql.Composed) -> None:
        """Execute statements in a transaction that waits briefly for locks, and is repeated until it succeeds."""

        def work() -> None:
            for statement in statements:
                self.connection.execute(statement)

        with_short_locks(self.connection, relations, self.shown, self.report, work)

    def wait_for_builders(self, tables: Sequence[int]) -> bool:
        """Wait while another session builds an index on one of these tables. Returns False if none does."""
        return wait_for_builders(self.connection, tables, self.shown, self.report)

    def _explain(self, message: str) -> str | None:
        """Return the memory to set after the server's notice that the graph no longer fits."""
        match, settings = _NO_LONGER_FITS.search(message), self._settings
        if match is None or settings is None:
            return None
        by_progress = settings.memory * self._rows / max(1, int(match[1])) * 1.05
        return f"set {_SETTING} to {megabytes(round(max(by_progress, settings.needed or 0)))}"


class IndexBuild(IndexWork):
    """Builds a declared index with its operator class, in at most ``memory_bytes``."""

    def __init__(
        self,
        connection: Connection,
        target: IndexTarget,
        operator_class: sql.Identifier,
        report: Progress,
        key: int,
        memory_bytes: int | None,
    ) -> None:
        super().__init__(connection, target.shown, report, key)
        self.target = target
        self.operator_class = operator_class
        self.memory_bytes = memory_bytes
        self._workers: int | None = None  # 0 after the server had no memory for workers

    def build(self, schema: str, name: str, table: sql.Identifier, oid: int) -> None:
        """Build an index concurrently. ``table`` is the table or a partition, ``oid`` its oid.

        Returns with an invalid index if the build can be tried again. After an error, drops the invalid index.
        """
        shown, started = printable(f"{schema}.{name}"), time.monotonic()
        settings, statement = self._prepare(shown, name, table, oid)
        with translated(f"building {shown}"):
            try:
                with settings_applied(self.connection, settings), self.watch.running(f"{shown}: building"):
                    self.connection.execute(statement)
            except psycopg.Error as error:
                if not self._can_retry(error):
                    self._drop_leftover(error, schema, name, oid)
                    raise
                self.report(f"{shown}: trying again{self._without()}, after: {one_line(error)}")
                return
        self.report(f"{shown}: built in {duration(time.monotonic() - started)}")

    def _can_retry(self, error: psycopg.Error) -> bool:
        """Return True after a deadlock, or if the server had no shared memory for workers."""
        # A full /dev/shm is told as a full disk, from another file of the server's source.
        no_memory = isinstance(error, errors.OutOfMemory) or error.diag.source_file == _SHARED_MEMORY
        if no_memory and self._settings and self._settings.workers:
            self._workers = 0
            return True
        return isinstance(error, errors.DeadlockDetected)

    def _without(self) -> str:
        return " without workers" if self._workers == 0 else ""

    def _drop_leftover(self, error: psycopg.Error, schema: str, name: str, table: int) -> None:
        """Drop the index of a failed build, whose pages would stay on a full disk. ``table`` is the table's oid."""
        if is_connection_lost(error) or isinstance(error, errors.QueryCanceled | errors.DuplicateTable):
            return
        with suppress(psycopg.Error):  # the build's own error is the one to report
            index = named_indexes(self.connection, schema, [name]).get(name)
            if index and index.table == table and not index.valid:
                with self.watch.running(f"{self.shown}: dropping the invalid index"):
                    self.connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index.sql_name))

    def create_only(self, name: str, table: sql.Identifier, oid: int) -> None:
        """Create the index of a partitioned table, without those of its partitions."""
        parameters = self.target.definition.parameters
        statement = create_statement(self.target, self.operator_class, name, table, parameters, form=ONLY)
        self.with_short_locks([oid], statement)

    def _prepare(self, shown: str, name: str, table: sql.Identifier, oid: int) -> tuple[BuildSettings, sql.Composed]:
        """Return the settings of a build, which are reported, and its statement."""
        definition = self.target.definition
        with self.watch.running(f"{shown}: estimating the rows"):
            self._rows = estimate_rows(self.connection, [oid])
        parameters = dict(definition.parameters)
        if definition.method == "ivfflat":
            parameters.setdefault("lists", lists_for(self._rows))
        needed = estimate_memory(definition.method, self._rows, vector_bytes(self.connection, self.target), parameters)
        settings = plan_settings(self.connection, needed, self.memory_bytes, workers=self._workers)
        self._settings = settings
        self.report(f"{shown}: building, about {self._rows:,} rows; {settings.shown(_SETTING)}")
        form = CONCURRENTLY
        return settings, create_statement(self.target, self.operator_class, name, table, parameters, form=form)
