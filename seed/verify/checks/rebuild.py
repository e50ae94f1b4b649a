"""The remedies of an index that is missing or differs: the statements or the command that builds it."""

from __future__ import annotations

import shlex

from psycopg import sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.contract import DeclaredIndex
from pgvector_seed.vectors.index.definition import IndexDefinition, indexed_expression
from pgvector_seed.vectors.index.limits import operator_class
from pgvector_seed.vectors.indexes import VectorIndex, create_index
from pgvector_seed.vectors.metrics import OPERATORS

from ..context import Context


def build_remedy(context: Context, index: DeclaredIndex, *before: str) -> str:
    """Return the statements that build an index, after those of ``before``; of an index of the stack, the command.

    If no such index is possible, return the limit, and an index to use instead.
    """
    try:
        statement = _create(context, index)
    except InputError as error:
        return f"{error.message}. {error.remedy}"
    if index.column is not None:
        command = f"To build it, as the table's owner: {PROGRAM} index build {shlex.quote(index.name)}"
        return "\n".join([*before, f"-- {command}" if before else command])
    return "\n".join([*before, statement])


def replace_remedy(context: Context, index: DeclaredIndex, actual: VectorIndex, *, can_rebuild: bool) -> str:
    """Return the remedy of an index that differs, or is invalid: then ``can_rebuild`` is True unless it is partitioned.

    If another metric is the only fault of an index of the migrations, the remedy names that metric, too.
    """
    if index.column is not None:
        return build_remedy(context, index)
    if can_rebuild:
        return f"REINDEX INDEX CONCURRENTLY {actual.name};"
    drop = sql.SQL("DROP INDEX {};").format(sql.Identifier(context.name.schema, index.name)).as_string()
    return build_remedy(context, index, drop)


def or_metric(context: Context, index: DeclaredIndex, actual: VectorIndex) -> str:
    """Return the other remedy as a comment in SQL: the index may be right, and the declared metric wrong.

    Returns "" for an index of the stack or on bits, and if the contract has several vector columns of the table: a
    stack declares one metric for all of them.
    """
    several = sum(table.name == context.declared.name for table in context.contract.tables or ()) > 1
    if several or index.bits or index.column is not None:
        return ""
    metrics = [metric for metric, operator in OPERATORS.items() if operator in actual.operators]
    where = f"for {context.declared.name} in the stack's tables, and deploy again"
    return f"\n-- Or, if the index is right: set metric: {metrics[0]} {where}." if metrics else ""


def _create(context: Context, index: DeclaredIndex) -> str:
    """Return the statement that builds an index. Raises InputError if no such index is possible."""
    definition = _definition(context, index)
    declared, column = context.declared, context.catalog_column
    type_ = declared.type or (column.type if column else "vector")
    dimensions = column.modifier if column else declared.dimensions or 0
    schema = context.extension.schema if context.extension else "public"
    name = sql.Identifier(definition.column)
    return create_index(
        index.name,
        context.sql_name,
        indexed_expression(name, dimensions, schema, cast=definition.cast, bits=definition.bits),
        operator_class(context.connection, definition, type_, dimensions)[1],
        method=definition.method,
        parameters=definition.parameters,
        concurrently=context.table.kind == "r",
    ).as_string()


def _definition(context: Context, index: DeclaredIndex) -> IndexDefinition:
    """Return the index as the contract declares it, or as an example if the contract leaves something out."""
    return IndexDefinition(
        context.name.schema,
        context.name.table,
        index.name,
        index.column or context.declared.vector or "embedding",
        index.method or "hnsw",
        context.declared.metric or "l2",
        index.parameters or {},
        index.cast,
        bool(index.bits),
    )
