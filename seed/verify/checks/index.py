"""The check index: each declared index exists, is valid, and serves the vector column and its metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.migrate.contract import DeclaredIndex
from pgvector_seed.postgres.catalog import IndexBuilder, find_builder
from pgvector_seed.vectors.indexes import VectorIndex, create_index, indexes_named
from pgvector_seed.vectors.metrics import OPERATORS

from ..context import Context
from ..model import READER_CHECKS, Check, Fault, Outcome, failed_with, not_declared, passed, skipped


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
    expected = ", ".join(_describe(index, context.declared.metric) for index in indexes)
    faults = [fault for index in indexes for fault in _faults(context, index)]
    if not faults:
        return passed(f"{len(indexes)} valid and usable" if len(indexes) > 1 else "valid and usable", expected)
    useless = any(fault.useless for fault in faults)
    plain = [Fault(fault.message, fault.remedy) for fault in faults]
    return failed_with(expected, plain, blocks=READER_CHECKS if useless else frozenset())


def _describe(index: DeclaredIndex, metric: str | None) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in (index.parameters or {}).items())
    words = [index.name, index.method, metric and f"for {metric}", parameters and f"with {parameters}"]
    return " ".join(filter(None, words))


def _faults(context: Context, index: DeclaredIndex) -> Iterator[_IndexFault]:
    existing = indexes_named(context.connection, context.name.schema, index.name)
    if not existing or existing[0].table != context.table.oid:
        create = _create(context, index)
        if not existing:
            yield _IndexFault(f"the index {index.name} does not exist", create, useless=True)
        else:
            rename = f"ALTER INDEX {existing[0].name} RENAME TO {context.quote(index.name + '_of_another')};"
            yield _IndexFault(f"another table has the index {index.name}", f"{rename}\n{create}", useless=True)
        return
    for actual in existing:
        broken = not (actual.valid and actual.ready)
        builder = find_builder(context.connection, actual.oid) if broken else None
        can_rebuild = broken and len(existing) == 1
        remedy = f"REINDEX INDEX CONCURRENTLY {actual.name};" if can_rebuild else _replace(context, index)
        differences = list(_differences(context, index, actual, builder))
        if builder:  # a REINDEX or a DROP INDEX and the build would wait for each other
            remedy = "Wait until it is built."
        elif any(difference.startswith("serves") for difference, _ in differences):
            remedy += _or_metric(context, actual)
        for difference, useless in differences:
            yield _IndexFault(f"{actual.name} {difference}", remedy, useless)


def _or_metric(context: Context, actual: VectorIndex) -> str:
    """Return the other remedy as a comment in SQL: the index may be right, and the declared metric wrong.

    Returns "" if the contract has several vector columns of the table: a stack declares one metric for all of them.
    """
    if sum(table.name == context.declared.name for table in context.contract.tables or ()) > 1:
        return ""
    metrics = [metric for metric, operator in OPERATORS.items() if operator in actual.operators]
    where = f"for {context.declared.name} in the stack's tables, and deploy again"
    return f"\n-- Or, if the index is right: set metric: {metrics[0]} {where}." if metrics else ""


def _differences(
    context: Context, index: DeclaredIndex, actual: VectorIndex, builder: IndexBuilder | None
) -> Iterator[tuple[str, bool]]:
    """Yield each difference, and True if it makes the index useless to a reader's query."""
    if builder:
        yield f"{'is' if builder.certain else 'may be'} being built, by server process {builder.pid}", True
    elif not actual.ready:
        yield "is not ready: its build was interrupted", True
    elif not actual.valid:
        yield "is not valid: its build was interrupted, or a partition lacks it", True
    if actual.predicate:
        yield f"covers only rows WHERE {actual.predicate}", True
    if actual.columns != context.declared.vector and context.declared.vector is not None:
        yield f"is on {actual.columns}", True
    elif context.declared.metric is not None and OPERATORS[context.declared.metric] not in actual.operators:
        yield f"serves {' '.join(actual.operators) or 'no distance'}, not {OPERATORS[context.declared.metric]}", True
    if index.method not in (None, actual.method):
        yield f"is {actual.method}", False
        return  # another method has other parameters
    for name, value in (index.parameters or {}).items():
        if actual.parameters.get(name) != str(value):
            yield f"has {name} = {actual.parameters.get(name, 'nothing')}", False


def _replace(context: Context, index: DeclaredIndex) -> str:
    drop = sql.SQL("DROP INDEX {};").format(sql.Identifier(context.name.schema, index.name)).as_string()
    return f"{drop}\n{_create(context, index)}"


def _create(context: Context, index: DeclaredIndex) -> str:
    table = context.declared
    type_ = table.type or (context.catalog_column.type if context.catalog_column else "vector")
    return create_index(
        index.name,
        context.sql_name,
        table.vector or "embedding",
        f"{type_}_{table.metric or 'l2'}_ops",
        method=index.method or "hnsw",
        parameters=index.parameters or {},
        concurrently=context.table.kind == "r",
    ).as_string()


CHECK = Check(
    "index",
    "a declared index is missing, invalid, not ready, partial, or has another column, metric, method or parameters",
    run,
    after=("extension", "table"),
)
