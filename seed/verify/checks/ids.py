"""The ids of a table: each is there once, by an index and, as an index may be wrong, by the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import errors, sql

from pgvector_seed.postgres.catalog import Column, find_column
from pgvector_seed.postgres.snapshot import query_catalog

from ..context import Context, NotAllowedError
from ..deadline import OutOfTimeError, milliseconds
from ..model import Fault
from .table import SEE_MIGRATIONS

# True if a unique index has this column alone. False if only together with the partition key, which the index of a
# partitioned table must include. NULL without such an index.
_IS_UNIQUE = """
SELECT bool_or(i.indnkeyatts = 1)
FROM pg_index i
LEFT JOIN pg_partitioned_table p ON p.partrelid = i.indrelid
WHERE i.indrelid = %(table)s AND i.indisunique AND i.indisvalid AND i.indisready
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND %(column)s = ANY (i.indkey[0 : i.indnkeyatts - 1])
  AND i.indkey[0 : i.indnkeyatts - 1] <@ (%(column)s || coalesce(p.partattrs::int2[], '{}'))
"""
_HAS_NULL = "SELECT EXISTS (SELECT FROM {table} WHERE {id} IS NULL)"
# A damaged index, as after an upgrade of the server's collations, lacks rows: so the table itself is read.
_WITHOUT_INDEX = "SET {local} enable_indexscan = off; SET {local} enable_indexonlyscan = off; "
_WITHOUT_INDEX += "SET {local} enable_bitmapscan = off;"
_DUPLICATE = """
SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {lock_milliseconds}; {without_index}
SELECT {id} FROM {table} WHERE {id} IS NOT NULL{condition} GROUP BY {id} HAVING count(*) > 1 LIMIT 1
"""
# All copies of an id are in one class. With 1,000,000 x 128, all ids take 0.29 s of a core, one class 0.09, and a count
# of the rows 0.04: beside an index, a larger table than this is judged by one class.
_CLASSES = 64
_MOST_ROWS = 200_000
_ONE_CLASS = f" AND hashtext(CAST({{id}} AS text)) & {_CLASSES - 1} = 0"
_SHARE_OF_TIME = 0.02  # of the time left, for each of the two tries; without an index on the ids alone:
_SHARE_WITHOUT_INDEX = 0.2

_FIND = """
-- Give these rows other ids, or delete them. To find them:
{without_index}
SELECT ctid, * FROM {table} WHERE {id} = {value};
-- Then: REINDEX TABLE {table};
"""


def id_faults(context: Context, notes: list[str]) -> Iterator[Fault]:
    """Yield a fault if the id column is missing, has no unique index, or an id is NULL or there twice.

    ``notes`` gets the reason if the ids of a unique index could not be read, or not all. Raises NotAllowedError or
    OutOfTimeError if no index makes them unique and they cannot be read.
    """
    name = context.declared.id
    if name is None:
        return
    column = find_column(context.connection, context.table.oid, name)
    if column is None:
        yield Fault(f"the column {name} does not exist", SEE_MIGRATIONS)
        return
    is_unique = context.connection.execute(_IS_UNIQUE, {"table": context.table.oid, "column": column.number}).fetchone()
    names: dict[str, sql.Composable] = {"id": sql.Identifier(name), "table": context.sql_name}
    if is_unique in (None, (None,)):
        add = sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY ({id});").format(**names).as_string()
        yield Fault(f"{name} has no unique index", add)
    yield from _null_ids(context, column, names)
    if is_unique == (False,):
        context.require_all_rows(name)
        yield from _duplicates(context, notes, names, context.lock_seconds, _SHARE_WITHOUT_INDEX)
    elif is_unique == (True,):
        yield from _duplicates_beside_an_index(context, notes, names)


def _null_ids(context: Context, column: Column, names: dict[str, sql.Composable]) -> Iterator[Fault]:
    if column.not_null:
        return
    context.require_all_rows(context.declared.id)
    if context.fetch_value(sql.SQL(_HAS_NULL).format(**names)):
        query = sql.SQL("SELECT * FROM {table} WHERE {id} IS NULL;").format(**names).as_string()
        remedy = f"-- Give these rows other ids, or delete them. To find them:\n{query}"
        yield Fault(f"{context.declared.id} is NULL in some rows", remedy)


def _duplicates_beside_an_index(
    context: Context, notes: list[str], names: dict[str, sql.Composable]
) -> Iterator[Fault]:
    """Read the ids if that is possible now: the index is the evidence otherwise."""
    try:
        context.require_all_rows(context.declared.id)
        is_large = sum(leaf.reltuples for leaf in context.leaves) > _MOST_ROWS
        yield from _duplicates(context, notes, names, 0.001, _SHARE_OF_TIME, only_one_class=is_large)
    except (NotAllowedError, OutOfTimeError, errors.LockNotAvailable, errors.InsufficientPrivilege):
        notes.append("by its index: the ids were not read")


def _duplicates(
    context: Context,
    notes: list[str],
    names: dict[str, sql.Composable],
    lock_seconds: float,
    share: float,
    *,
    only_one_class: bool = False,
) -> Iterator[Fault]:
    """Look for an id that is there twice in all rows; if that takes too long, in one class of the ids."""
    one_class = sql.SQL(_ONE_CLASS).format(**names)
    for condition in (one_class,) if only_one_class else (sql.SQL(""), one_class):
        try:
            ids = _read(context, names, condition, lock_seconds, share)
        except errors.QueryCanceled:
            continue
        if condition != sql.SQL(""):
            notes.append(f"by one in {_CLASSES} of the ids")
        for (id_,) in ids:
            find = sql.SQL(_FIND.strip()).format(
                **names, value=sql.Literal(id_), without_index=sql.SQL(_WITHOUT_INDEX).format(local=sql.SQL("SESSION"))
            )
            yield Fault(f"several rows have the {context.declared.id} {id_}", find.as_string())
        return
    raise OutOfTimeError("the time left was too short to read the ids")


def _read(
    context: Context, names: dict[str, sql.Composable], condition: sql.Composable, lock_seconds: float, share: float
) -> list[tuple[Any, ...]]:
    statement = sql.SQL(_DUPLICATE).format(
        **names,
        condition=condition,
        milliseconds=milliseconds(share * context.deadline.seconds_left),
        lock_milliseconds=milliseconds(lock_seconds),
        without_index=sql.SQL(_WITHOUT_INDEX).format(local=sql.SQL("LOCAL")),
    )
    return query_catalog(context.connection, statement)
