"""The check index: each declared index exists, is valid, and serves the vector column and its metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
from psycopg import errors, sql

from pgvector_seed.migrate.contract import DeclaredIndex, DeclaredTable
from pgvector_seed.postgres.catalog import IndexBuilder, find_builder
from pgvector_seed.vectors.index.definition import NEW
from pgvector_seed.vectors.indexes import VectorIndex, broken_indexes, indexes_named
from pgvector_seed.vectors.metrics import OPERATORS

from ..context import Context, NotAllowedError
from ..damage import find_damage
from ..model import READER_CHECKS, Check, Fault, Outcome, failed_with, not_declared, passed, skipped
from .rebuild import build_remedy, or_metric, replace_remedy

_WAIT = "Wait until it is built."


class _IndexFault(NamedTuple):
    """A fault of one index. ``useless`` if no query of a reader can use it."""

    message: str
    remedy: str
    useless: bool


def run(context: Context) -> Outcome:
    """Compare each declared index, and its indexes on the partitions, with the catalog."""
    indexes = context.declared.indexes
    if not indexes:
        return not_declared("an index")
    if context.declared.vector is not None and context.catalog_column is None:
        return skipped(f"after column: the column {context.declared.vector} does not exist")
    expected = ", ".join(_describe(index, context.declared) for index in indexes)
    faults = [fault for index in indexes for fault in _faults(context, index)]
    faults += _damaged(context)
    if not faults:
        return passed(f"{len(indexes)} valid and usable" if len(indexes) > 1 else "valid and usable", expected)
    useless = any(fault.useless for fault in faults)
    plain = [Fault(fault.message, fault.remedy) for fault in faults]
    return failed_with(expected, plain, blocks=READER_CHECKS if useless else frozenset())


def _damaged(context: Context) -> Iterator[_IndexFault]:
    """Yield a fault if the file of an index is lost: the planner opens all indexes of the table and its partitions."""
    try:
        context.require_select()
        with context.connection.transaction(force_rollback=True):
            context.connection.execute(sql.SQL("EXPLAIN SELECT FROM {}").format(context.sql_name))
    except (NotAllowedError, errors.LockNotAvailable, errors.QueryCanceled):
        return
    except psycopg.Error as error:
        damage = find_damage(error, context)
        if damage is None:
            raise
        if damage.check == "index":
            yield _IndexFault(damage.outcome.message, damage.outcome.remedy, useless=True)


def _describe(index: DeclaredIndex, table: DeclaredTable) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in (index.parameters or {}).items())
    key = _key(index.column or table.vector or "the column", cast=index.cast, bits=index.bits)
    is_plain = not (index.cast or index.bits)
    words = [index.name, index.method, None if is_plain else f"on {key}", table.metric and f"for {table.metric}"]
    return " ".join(filter(None, [*words, parameters and f"with {parameters}"]))


def _key(columns: str, *, cast: str | None, bits: bool | None) -> str:
    """Return the key of an index in words."""
    return f"the bits of {columns}" if bits else f"{columns} cast to {cast}" if cast else columns


def _faults(context: Context, index: DeclaredIndex) -> Iterator[_IndexFault]:
    existing = indexes_named(context.connection, context.name.schema, index.name)
    successor = _build_of_successor(context, index)
    if not existing or existing[0].table != context.table.oid:
        yield _missing(context, index, successor, existing[0] if existing else None)
        return
    for actual in existing:
        builder = find_builder(context.connection, actual.oid) if actual.is_broken else None
        differences = list(_differences(context, index, actual, builder))
        if not differences:
            continue
        if builder or successor:  # a REINDEX or a DROP INDEX and the build would wait for each other
            remedy = _WAIT
        else:
            remedy = replace_remedy(context, index, actual, can_rebuild=actual.is_broken and len(existing) == 1)
            if any(difference.startswith("serves") for difference, _ in differences):
                remedy += or_metric(context, index, actual)
        for difference, useless in differences:
            yield _IndexFault("; ".join(filter(None, [f"{actual.name} {difference}", successor])), remedy, useless)


def _build_of_successor(context: Context, index: DeclaredIndex) -> str | None:
    """Describe the build of the index that will get the name of this index of a stack; None if there is none."""
    new = indexes_named(context.connection, context.name.schema, index.name + NEW) if index.column else []
    if not new or new[0].table != context.table.oid or not new[0].is_broken:
        return None
    # The index of a partition has a name of its own until it is attached.
    partitions = [leaf.oid for leaf in context.leaves if leaf.oid != context.table.oid]
    parts = broken_indexes(context.connection, partitions)
    builders = (find_builder(context.connection, oid) for oid in (new[0].oid, *parts))
    return next((f"{new[0].name} {_being_built(builder)}" for builder in builders if builder), None)


def _missing(context: Context, index: DeclaredIndex, successor: str | None, other: VectorIndex | None) -> _IndexFault:
    if successor:
        return _IndexFault(f"the index {index.name} is absent; {successor}", _WAIT, useless=True)
    if other:
        rename = f"ALTER INDEX {other.name} RENAME TO {context.quote(index.name + '_of_another')};"
        fault = f"another table has the index {index.name}"
        return _IndexFault(fault, build_remedy(context, index, rename), useless=True)
    state = "does not exist" if index.column is None else "is absent: it has not been built yet"
    return _IndexFault(f"the index {index.name} {state}", build_remedy(context, index), useless=True)


def _being_built(builder: IndexBuilder) -> str:
    return f"{'is' if builder.certain else 'may be'} being built, by server process {builder.pid}"


def _state(actual: VectorIndex, builder: IndexBuilder | None) -> Iterator[tuple[str, bool]]:
    """Yield as ``_differences``, of the index itself: each makes it useless."""
    if builder:
        yield _being_built(builder), True
    elif not actual.ready:
        yield "is not ready: its build was interrupted", True
    elif not actual.valid:
        yield "is not valid: its build was interrupted, or a partition lacks it", True
    if actual.predicate:
        yield f"covers only rows WHERE {actual.predicate}", True


def _differences(
    context: Context, index: DeclaredIndex, actual: VectorIndex, builder: IndexBuilder | None
) -> Iterator[tuple[str, bool]]:
    """Yield each difference from the declaration, and True if it makes the index useless to the reader's query."""
    yield from _state(actual, builder)
    column, metric = index.column or context.declared.vector, "hamming" if index.bits else context.declared.metric
    key = _key(actual.columns, cast=actual.cast, bits=actual.bits)
    if column is not None and key != _key(column, cast=index.cast, bits=index.bits):
        yield f"is on {key}", True
    elif metric is not None and OPERATORS[metric] not in actual.operators:
        yield f"serves {' '.join(actual.operators) or 'no distance'}, not {OPERATORS[metric]}", True
    elif actual.foreign_class is not None:
        yield f"is by the operator class {actual.foreign_class}, which may order by another distance", True
    if index.method not in (None, actual.method):
        yield f"is {actual.method}", False
        return  # another method has other parameters
    for name, value in (index.parameters or {}).items():
        if actual.parameters.get(name) != str(value):
            yield f"has {name} = {actual.parameters.get(name, 'nothing')}", False


CHECK = Check(
    "index",
    "a declared index is missing, invalid, not ready, partial, or has another column, cast, metric, operator "
    "class, method or parameters",
    run,
    after=("extension", "table"),
)
