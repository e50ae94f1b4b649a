"""Compute the expressions of policies and constraints, if they run nothing but PostgreSQL's own immutable code."""

from __future__ import annotations

import re
from enum import Enum

import psycopg

from ..context import Context

# The nodes of a constant. A call is one only if its function is immutable.
_CONSTANT_NODES = frozenset(
    {"CONST", "OPEXPR", "FUNCEXPR", "BOOLEXPR", "NULLTEST", "BOOLEANTEST", "RELABELTYPE", "DISTINCTEXPR", "NULLIFEXPR"}
    | {"SCALARARRAYOPEXPR", "ARRAYEXPR", "COALESCEEXPR", "CASEEXPR", "CASEWHEN"}
)
_NODE = re.compile(r"\{([A-Z_]+)")
_FUNCTION = re.compile(r":funcid ([0-9]+)")
_OPERATOR = re.compile(r":opno ([0-9]+)")
_COLUMN_TYPE = re.compile(r":vartype ([0-9]+)")
_FIRST_OF_USERS = 16384  # FirstNormalObjectId: objects below it came with PostgreSQL
_ARE_IMMUTABLE = f"""
SELECT coalesce(bool_and(p.provolatile = 'i' AND p.oid < {_FIRST_OF_USERS}
                         AND p.pronamespace = 'pg_catalog'::regnamespace), true)
FROM pg_proc p
WHERE p.oid = ANY (%(functions)s) OR p.oid IN (SELECT oprcode FROM pg_operator WHERE oid = ANY (%(operators)s))
"""  # noqa: S608  # a number
_SHARE_OF_TIME = 1 / 50


class Needs(Enum):
    """The input of an expression."""

    NOTHING = "it is a constant"
    ROW = "the columns of a row"
    MORE = "a setting, a role, a query or a function of others"


def needs(context: Context, tree: str, *, is_pure: bool) -> Needs:
    """Return the input of an expression. ``tree`` is its expression tree as text.

    ``is_pure`` is True if pg_depend has no dependency but on the table itself. It has none on what is built in. A
    column whose type is not PostgreSQL's is MORE: a comparison could run foreign code.
    """
    nodes = set(_NODE.findall(tree))
    if not is_pure or not nodes <= _CONSTANT_NODES | {"VAR"} or not _are_immutable(context, tree):
        return Needs.MORE
    if "VAR" not in nodes:
        return Needs.NOTHING
    return Needs.ROW if all(int(oid) < _FIRST_OF_USERS for oid in _COLUMN_TYPE.findall(tree)) else Needs.MORE


def compute(context: Context, query: bytes) -> bool | None:
    """Return the only value of a query; None if it takes too long or fails, as by a division by zero."""
    connection = context.connection
    try:
        row = context.deadline.within(connection, _SHARE_OF_TIME, lambda: connection.execute(query).fetchone())
    except psycopg.Error:
        if connection.closed:
            raise
        return None
    return row[0] if row else None


def _are_immutable(context: Context, tree: str) -> bool:
    oids = {"functions": list(map(int, _FUNCTION.findall(tree))), "operators": list(map(int, _OPERATOR.findall(tree)))}
    return context.connection.execute(_ARE_IMMUTABLE, oids).fetchone() == (True,)
