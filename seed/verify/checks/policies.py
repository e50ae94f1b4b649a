"""Row security: which commands of a role certainly affect no row, by policies that are constants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import psycopg

from pgvector_seed.vectors.reader import Reader

from ..context import Context
from ..model import Fault

_APPLIES = """
SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
   AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
FROM pg_class c, pg_roles r WHERE c.oid = %s AND r.rolname = %s
"""
# The policies of the table that apply to the role, with their expressions as SQL and as trees. ``is_pure``: beside the
# table itself, they need nothing but what PostgreSQL has built in, for which pg_depend has no entries.
_POLICIES = """
SELECT p.polname, p.polpermissive, p.polcmd,
       pg_get_expr(p.polqual, p.polrelid), p.polqual::text,
       pg_get_expr(p.polwithcheck, p.polrelid), p.polwithcheck::text,
       NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                   AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid)) AS is_pure,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
               AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0)
FROM pg_policy p
WHERE p.polrelid = %s
  AND EXISTS (SELECT FROM unnest(p.polroles) AS target WHERE target = 0 OR pg_has_role(%s::name, target, 'USAGE'))
ORDER BY p.polname
"""
# The nodes of a constant. A call is one only if its function is immutable.
_CONSTANT_NODES = frozenset(
    {"CONST", "OPEXPR", "FUNCEXPR", "BOOLEXPR", "NULLTEST", "BOOLEANTEST", "RELABELTYPE", "DISTINCTEXPR", "NULLIFEXPR"}
    | {"SCALARARRAYOPEXPR", "ARRAYEXPR", "COALESCEEXPR", "CASEEXPR", "CASEWHEN"}
)
_NODE = re.compile(r"\{([A-Z_]+)")
_FUNCTION = re.compile(r":funcid ([0-9]+)")
_OPERATOR = re.compile(r":opno ([0-9]+)")
# 16384 is FirstNormalObjectId: objects below it came with PostgreSQL.
_ARE_IMMUTABLE = """
SELECT coalesce(bool_and(p.provolatile = 'i' AND p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace), true)
FROM pg_proc p
WHERE p.oid = ANY (%(functions)s) OR p.oid IN (SELECT oprcode FROM pg_operator WHERE oid = ANY (%(operators)s))
"""
_SHARE_OF_TIME = 1 / 50


class Shows(Enum):
    """The rows for which a policy's expression is true."""

    ALL = "all"
    NONE = "none"
    BY_ROW = "by a column of the row"
    UNKNOWN = "by a setting, a role or a function"


class Policy(NamedTuple):
    """A policy that applies to a role. ``command`` is polcmd of pg_policy, ``check`` is about new rows."""

    name: str
    permissive: bool
    command: str
    using: Shows
    check: Shows


class RowSecurity(NamedTuple):
    """The faults of row security for a role, and the policies that could not be decided, by name."""

    faults: list[Fault]
    undecided: list[str]


def row_security(context: Context, role: str, privileges: Mapping[str, str]) -> RowSecurity:
    """Judge row security for a role that needs these privileges, with their letters of polcmd."""
    if not context.table.row_security or not context.fetch_value(_APPLIES, context.table.oid, role):
        return RowSecurity([], [])
    policies, letters = policies_of(context, role), list(privileges.values())
    see = f"To see the policies, in psql: \\d {context.sql_name.as_string()}"
    faults = [
        Fault(f"row security lets {role} {privilege} no row", see)
        for privilege, letter in privileges.items()
        if shows_nothing(policies, letter)
    ]
    return RowSecurity([*faults, *_switched_off(context, role)], undecided(policies, letters))


def _switched_off(context: Context, role: str) -> Iterator[Fault]:
    """Yield a fault if the sessions of a role, to which row security applies, get an error for each query."""
    if not context.fetch_value("SELECT bool(%s::text)", Reader(role).setting(context.connection, "row_security")):
        database = context.quote(context.connection.info.dbname)
        statement = f"ALTER ROLE {context.quote(role)} IN DATABASE {database} SET row_security = on;"
        yield Fault(f"row_security is off for {role}, to which the policies apply: each query fails", statement)


def policies_of(context: Context, role: str) -> list[Policy]:
    """Return the policies of the table that apply to the role. Runs nothing but PostgreSQL's immutable functions."""
    policies = []
    for row in context.connection.execute(_POLICIES, (context.table.oid, role)).fetchall():
        name, permissive, command, using, using_tree, check, check_tree, is_pure, has_column = row
        shown = _shows(context, using, using_tree, is_pure=is_pure, has_column=has_column)
        new = _shows(context, check, check_tree, is_pure=is_pure, has_column=has_column) if check else shown
        policies.append(Policy(name, permissive, command, shown, new))
    return policies


def shows_nothing(policies: Sequence[Policy], letter: str) -> bool:
    """Return True if the command with this letter of polcmd certainly affects no row: r, a, w or d."""
    return any(
        all(value is Shows.NONE for value in permissive) or Shows.NONE in restrictive
        for permissive, restrictive in _values(policies, letter)
    )


def undecided(policies: Sequence[Policy], letters: Sequence[str]) -> list[str]:
    """Return the names of the policies on which it depends whether these commands affect a row."""
    return [policy.name for policy in policies if any(_is_decisive(policy, policies, letter) for letter in letters)]


def _is_decisive(policy: Policy, policies: Sequence[Policy], letter: str) -> bool:
    if policy.command not in ("*", letter) or Shows.UNKNOWN not in (policy.using, policy.check):
        return False
    healthy = {Shows.ALL, Shows.BY_ROW}
    return not policy.permissive or any(healthy.isdisjoint(permissive) for permissive, _ in _values(policies, letter))


def _values(policies: Sequence[Policy], letter: str) -> Iterator[tuple[list[Shows], list[Shows]]]:
    """Yield the values of the permissive and of the restrictive policies, for the existing rows and for the new ones.

    The permissive ones are combined by OR, the restrictive ones by AND. Without a permissive policy no row is shown.
    """
    applied = [policy for policy in policies if policy.command in ("*", letter)]
    for is_new in (False, True):
        if letter in ("aw" if is_new else "rwd"):
            pairs = [(policy.permissive, policy.check if is_new else policy.using) for policy in applied]
            yield [value for kind, value in pairs if kind], [value for kind, value in pairs if not kind]


def _shows(context: Context, expression: str | None, tree: str | None, *, is_pure: bool, has_column: bool) -> Shows:
    """Return the value of a policy's expression; a policy without one, which is for INSERT, shows all there are."""
    if expression is None or tree is None:
        return Shows.ALL
    nodes = set(_NODE.findall(tree))
    if is_pure and nodes <= _CONSTANT_NODES and _are_immutable(context, tree):
        return _folded(context, expression)
    return Shows.BY_ROW if "VAR" in nodes and (has_column or "SUBLINK" not in nodes) else Shows.UNKNOWN


def _are_immutable(context: Context, tree: str) -> bool:
    oids = {"functions": list(map(int, _FUNCTION.findall(tree))), "operators": list(map(int, _OPERATOR.findall(tree)))}
    return context.connection.execute(_ARE_IMMUTABLE, oids).fetchone() == (True,)


def _folded(context: Context, expression: str) -> Shows:
    """Return the value of a constant expression; UNKNOWN if it takes too long or fails, as a division by zero."""
    connection, statement = context.connection, b"SELECT (" + expression.encode() + b"\n) IS TRUE"
    try:
        row = context.deadline.within(connection, _SHARE_OF_TIME, lambda: connection.execute(statement).fetchone())
    except psycopg.Error:
        if connection.closed:
            raise
        return Shows.UNKNOWN
    return Shows.UNKNOWN if row is None else Shows.ALL if row == (True,) else Shows.NONE
