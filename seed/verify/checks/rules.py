"""The rules that replace or follow the writer's statements on a table, and the triggers that run with them."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..model import Fault

# The letters of pg_rewrite. A rule of a partition does not apply to statements on the partitioned table.
_COMMANDS = {"2": "UPDATE", "3": "INSERT", "4": "DELETE"}
_RULES = """
SELECT rulename, ev_type, is_instead FROM pg_rewrite
WHERE ev_class = %s AND ev_type IN ('2', '3', '4') AND ev_enabled IN ('O', 'A')
ORDER BY rulename
"""
# For each row or statement that is inserted (4), deleted (8) or updated (16).
_TRIGGERS = """
SELECT DISTINCT g.tgname
FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
WHERE g.tgrelid = ANY (%s::oid[]) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 28 <> 0
  AND p.pronamespace <> 'pg_catalog'::regnamespace
ORDER BY g.tgname
"""


def rule_faults(context: Context) -> Iterator[Fault]:
    """Yield a fault for each rule on INSERT, UPDATE or DELETE of the table."""
    for name, event, is_instead in context.connection.execute(_RULES, (context.table.oid,)):
        does = "replaces" if is_instead else "adds to"
        drop = f"DROP RULE {context.quote(name)} ON {context.sql_name.as_string()};"
        yield Fault(f"the rule {name} {does} every {_COMMANDS[event]}", drop)


def triggers(context: Context) -> list[str]:
    """Return the names of the enabled triggers of the table and its partitions, but for those of PostgreSQL itself."""
    tables = [context.table.oid, *(leaf.oid for leaf in context.leaves)]
    return [name for (name,) in context.connection.execute(_TRIGGERS, (tables,))]
