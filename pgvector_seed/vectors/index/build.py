"""Build, replace and drop an index without an outage: see ``steps``."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.common.errors import InputError, RefusedError, WrongResultError
from pgvector_seed.common.text import printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.vectors.index.catalog import CatalogIndex, named_indexes
from pgvector_seed.vectors.index.compare import all_differences, is_ours
from pgvector_seed.vectors.index.conditions import require_buildable
from pgvector_seed.vectors.index.definition import NEW, OLD, IndexDefinition
from pgvector_seed.vectors.index.drop import drop_index as drop_index
from pgvector_seed.vectors.index.drop import drop_one, drop_unattached
from pgvector_seed.vectors.index.lock import index_locked
from pgvector_seed.vectors.index.partitions import build_partitions, refuse_foreign_tables, tables_of
from pgvector_seed.vectors.index.rows import count_left_out
from pgvector_seed.vectors.index.steps import CURRENT, SUFFIXES, Action, NamedIndex, Step, next_step
from pgvector_seed.vectors.index.target import IndexTarget, resolve
from pgvector_seed.vectors.index.work import IndexBuild

_MOST_TRIES = 5  # of one step


def build_index(
    connection: Connection, definition: IndexDefinition, report: Progress, *, memory_bytes: int | None = None
) -> bool:
    """Build the declared index, or replace the one of its name, and return True if there was anything to do.

    The connection is in autocommit mode, and its role owns the table. ``memory_bytes`` limits the memory of the build:
    see ``plan_settings``.

    Raises InputError if the index cannot be built as declared, RefusedError if one of its names is that of another
    index, WrongResultError if the server refuses a step, InterruptError after an interrupt.
    """
    with translated(f"building the index {printable(definition.name)}"):
        target = resolve(connection, definition)
        operator_class = require_buildable(connection, target)
        refuse_foreign_tables(connection, target.table, target.shown)
        with index_locked(connection, definition.schema, definition.name, report) as key:
            work = IndexBuild(connection, target, operator_class, report, key, memory_bytes)
            return _Steps(work).run()


def require_own_names(connection: Connection, definition: IndexDefinition) -> None:
    """Raise RefusedError if NAME, NAME_new or NAME_old is that of another index or relation."""
    target = resolve(connection, definition)
    names = [definition.name + suffix for suffix in SUFFIXES]
    for index in named_indexes(connection, definition.schema, names).values():
        if not is_ours(target, index):
            raise _refusal(target, index)


class _Steps:
    """Performs the steps of one index until nothing is left to do."""

    def __init__(self, work: IndexBuild) -> None:
        self.work = work
        self.target = work.target
        self.connection = work.connection
        self.name = work.target.definition.name
        self.schema = work.target.definition.schema
        self.is_counted = False

    def run(self) -> bool:
        """Perform the steps. Returns True if there were any."""
        step, tries, steps = None, 0, 0
        column = self.target.definition.column
        while True:
            with self.work.watch.running(f"{self.work.shown}: reading the catalog"):
                indexes = self._indexes()
                following = next_step(*map(self._named, indexes), partitioned=self.target.partitioned)
            if following is None:
                return drop_unattached(self.work, self.target.table, self.name, column) or steps > 0
            if self.work.wait_for_builders(tables_of(self.connection, self.target.table)):
                continue
            tries = tries + 1 if following == step else 1
            if tries > _MOST_TRIES:
                raise WrongResultError(f"the index {self.work.shown}: {following.action.value} has no effect")
            self._perform(following, indexes[SUFFIXES.index(following.suffix)], indexes[0])
            step, steps = following, steps + 1

    def _indexes(self) -> list[CatalogIndex | None]:
        names = [self.name + suffix for suffix in SUFFIXES]
        indexes = named_indexes(self.connection, self.schema, names)
        return [indexes.get(name) for name in names]

    def _named(self, index: CatalogIndex | None) -> NamedIndex | None:
        if index is None:
            return None
        is_declared = not all_differences(self.connection, self.target, index)
        return NamedIndex(is_ours(self.target, index), index.valid, is_declared)

    def _perform(self, step: Step, index: CatalogIndex | None, current: CatalogIndex | None) -> None:
        if step.action is Action.BUILD:
            self._build()
        elif step.action is Action.RENAME:
            assert index is not None
            self._rename(index, current)
        elif step.action is Action.DROP:
            assert index is not None
            drop_one(self.work, self.target.table, index, partitioned=self.target.partitioned)
        else:
            assert index is not None
            raise _refusal(self.target, index)

    def _build(self) -> None:
        if not self.is_counted:
            with self.work.watch.running(f"{self.work.shown}: counting the rows"):
                left_out = str(count_left_out(self.connection, self.target))
            if left_out:
                self.work.report(f"{self.work.shown}: {left_out} will not be found through the index")
            self.is_counted = True
        name = self.name + NEW
        if self.target.partitioned:
            build_partitions(self.work, name)
        else:
            self.work.build(self.schema, name, self.target.relation, self.target.table)

    def _rename(self, new: CatalogIndex, current: CatalogIndex | None) -> None:
        """Rename NAME to NAME_old and NAME_new to NAME, in one transaction. Queries go on."""
        rename = sql.SQL("ALTER INDEX {} RENAME TO {}")
        statements = [rename.format(current.sql_name, sql.Identifier(self.name + OLD))] if current else []
        statements.append(rename.format(new.sql_name, sql.Identifier(self.name + CURRENT)))
        self.work.with_short_locks([index.oid for index in (new, current) if index], *statements)
        self.work.report(f"{self.work.shown}: {'replaced' if current else 'ready'}")


def _refusal(target: IndexTarget, index: CatalogIndex) -> InputError:
    name = printable(f"{index.schema}.{index.name}")
    if index.table is None:
        fault = f"{name} is a relation of another kind"
    elif index.table != target.table:
        fault = f"{name} is an index on another table, {printable(index.table_name)}"
    else:
        fault = f"{name} is an index on another column of {printable(index.table_name)}"
    return RefusedError(
        f"the index {target.shown}: {fault}",
        "Rename or drop it if it is not needed, or declare another name.",
    )
