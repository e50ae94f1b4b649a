"""Row security: which commands of a role certainly affect no row, by its policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from ..context import Context, NotAllowedError
from ..model import Fault
from .expressions import Needs, compute, needs

_APPLIES = """
SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
   AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
FROM pg_class c, pg_roles r WHERE c.oid = %s AND r.rolname = %s
"""
# The policies of the table that apply to the role, with their expressions as SQL and as trees. ``is_pure`` is as in
# ``needs``.
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


class Shows(Enum):
    """The rows for which a policy's expression is true."""

    ALL = "all"
    NONE = "none"
    BY_ROW = "by a column of the row"
    UNKNOWN = "by a setting, a role or a function"


class Policy(NamedTuple):
    """A policy that applies to a role. ``command`` is polcmd of pg_policy, ``check`` is about new rows.

    ``condition`` is USING as SQL if it needs at most the columns of the row, otherwise None.
    """

    name: str
    permissive: bool
    command: str
    using: Shows
    check: Shows
    condition: str | None


class RowSecurity(NamedTuple):
    """The faults of row security for a role, and the policies that could not be decided, by name."""

    faults: list[Fault]
    undecided: list[str]


def row_security(context: Context, role: str, privileges: Mapping[str, str]) -> RowSecurity:
    """Judge row security for a role that needs these privileges. They are mapped to letters of polcmd."""
    if not context.table.row_security or not context.fetch_value(_APPLIES, context.table.oid, role):
        return RowSecurity([], [])
    policies, letters = policies_of(context, role), list(privileges.values())
    see = context.show_remedy("policies")
    faults = [
        Fault(f"row security lets {role} {privilege} no row", see)
        for privilege, letter in privileges.items()
        if shows_nothing(policies, letter)
    ]
    # The reader alone: the writer may have yet to write the rows that it may see.
    if not faults and letters == ["r"] and _hides_every_row(context, policies):
        faults.append(Fault(f"row security shows {role} none of the rows", see))
    return RowSecurity([*faults, *_switched_off(context, role)], undecided(policies, letters))


def _switched_off(context: Context, role: str) -> Iterator[Fault]:
    """Yield a fault if row_security is off for a role to which policies apply: each of its queries is an error."""
    if not context.is_on(role, "row_security"):
        message = f"row_security is off for {role}, to which the policies apply: each query fails"
        yield Fault(message, context.alter_role(role, "row_security", "on"))


def policies_of(context: Context, role: str) -> list[Policy]:
    """Return the policies of the table that apply to the role. Runs nothing but PostgreSQL's immutable functions."""
    policies = []
    for row in context.connection.execute(_POLICIES, (context.table.oid, role)).fetchall():
        name, permissive, command, using, using_tree, check, check_tree, is_pure, has_column = row
        shown = _shows(context, using, using_tree, is_pure=is_pure, has_column=has_column)
        new = _shows(context, check, check_tree, is_pure=is_pure, has_column=has_column) if check else shown
        computable = using is not None and needs(context, using_tree, is_pure=is_pure) is not Needs.MORE
        policies.append(Policy(name, permissive, command, shown, new, using if computable else None))
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
    """Return the rows for which a policy's expression is true: all if it has none, as USING for INSERT."""
    if expression is None or tree is None:
        return Shows.ALL
    if needs(context, tree, is_pure=is_pure) is Needs.NOTHING:
        is_true = compute(context, b"SELECT (" + expression.encode() + b"\n) IS TRUE")
        return Shows.UNKNOWN if is_true is None else Shows.ALL if is_true else Shows.NONE
    return Shows.BY_ROW if "{VAR" in tree and (has_column or "{SUBLINK" not in tree) else Shows.UNKNOWN


def _hides_every_row(context: Context, policies: Sequence[Policy]) -> bool:
    """Return True if the table has rows, and the policies, which need at most the row, show none to SELECT."""
    applied = [policy for policy in policies if policy.command in ("*", "r")]
    if any(policy.condition is None for policy in applied):
        return False
    try:
        context.require_all_rows()
    except NotAllowedError:
        return False
    shown = b" AND ".join(
        [b"(" + b" OR ".join(_conditions(applied, permissive=True)) + b")", *_conditions(applied, permissive=False)]
    )
    table = context.sql_name.as_bytes()
    query = b"SELECT EXISTS (SELECT FROM %b) AND NOT EXISTS (SELECT FROM %b WHERE %b)" % (table, table, shown)
    return compute(context, query) is True


def _conditions(policies: Sequence[Policy], *, permissive: bool) -> list[bytes]:
    kind = [policy for policy in policies if policy.permissive is permissive]
    return [b"(" + policy.condition.encode() + b"\n)" for policy in kind if policy.condition is not None]
