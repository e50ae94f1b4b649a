"""The vector indexes that serve a search, or the reason why none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.explain import PlannerSetting, Scan, changed_settings, set_locally
from pgvector_seed.vectors.indexes import indexes_on_tables
from pgvector_seed.vectors.tables import LARGE
from pgvector_seed.vectors.unusable import Cause, Searched, find_fault, why_not

Explain: TypeAlias = Callable[[], Sequence[Scan]]

# With these, every plan but a scan in the order of an index costs too much.
NO_OTHER_PLAN = {"enable_seqscan": "off", "enable_sort": "off", "enable_bitmapscan": "off"}
_SOURCES = {
    "client": "from PGOPTIONS or the connection's options",
    "command line": "from the server's command line",
    "configuration file": "from the server's configuration",
    "database": "from ALTER DATABASE",
    "database user": "from ALTER ROLE ... IN DATABASE",
    "session": "set in this session",
    "user": "from ALTER ROLE",
}
# Costs of tablespaces, which precede the settings: worse for an index than the defaults, 4 and 1.
_TABLESPACE_COSTS = """
SELECT DISTINCT option_name, option_value, quote_ident(s.spcname)
FROM pg_class c
LEFT JOIN pg_index i ON i.indexrelid = c.oid
JOIN pg_tablespace s ON s.oid = coalesce(nullif(c.reltablespace, 0), (SELECT dattablespace FROM pg_database
                                                                    WHERE datname = current_database()))
CROSS JOIN pg_options_to_table(s.spcoptions)
WHERE (c.oid = ANY (%(tables)s) OR i.indrelid = ANY (%(tables)s))
  AND (option_name = 'random_page_cost' AND option_value::float8 > 4
       OR option_name = 'seq_page_cost' AND option_value::float8 < 1)
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class IndexUse:
    """The vector indexes that serve a search, by name. If there is none, ``cause`` and ``reason`` say why.

    ``settings`` are those that keep the planner off the index. ``scans`` describes the plan instead.
    """

    indexes: tuple[str, ...] = ()
    cause: Cause | None = None
    reason: str = ""
    scans: str = ""
    settings: tuple[PlannerSetting, ...] = ()

    def explained(self, *, sources: bool = False) -> str:
        """Return the reason with the settings, and with the ``sources`` of these in this session."""
        words = ", ".join(_shown(setting, sources=sources) for setting in self.settings)
        return f"{self.reason}: {words}" if words else self.reason


def find_index_use(connection: Connection, explain: Explain, searched: Searched) -> IndexUse:
    """Return the vector indexes that serve a search, or the reason why none does.

    ``explain`` returns the scans of its plan in this session. Call it in a transaction: settings are changed, and
    restored by rolling back to a savepoint.
    """
    names = {index.name for index in indexes_on_tables(connection, [leaf.oid for leaf in searched.leaves])}
    plan = _Plan(explain(), searched, names)
    if plan.is_served:
        return IndexUse(plan.used)
    if not plan.scans:
        return IndexUse((), Cause.CONDITION, "PostgreSQL sees without reading the table that no row can be found")
    fault = None if plan.used else find_fault(connection, searched)
    if fault:
        return IndexUse((), *fault, plan.shown)
    return _unused(connection, lambda: _Plan(explain(), searched, names).is_served, searched, plan)


class _Plan:
    """The scans of the searched table in a plan. ``used`` are the vector indexes among them."""

    def __init__(self, scans: Sequence[Scan], searched: Searched, names: set[str]) -> None:
        tables = {leaf.table for leaf in searched.leaves}
        self.scans = [scan for scan in scans if scan.relation in tables]
        served = [scan for scan in self.scans if scan.ordered and scan.index in names]
        self.used = tuple(sorted({scan.index for scan in served if scan.index}))
        # A condition with a subquery may scan a partition once more.
        missing = {leaf.table for leaf in searched.large} - {scan.relation for scan in served}
        self._others = [scan for scan in self.scans if scan.relation in missing or not served]

    @property
    def is_served(self) -> bool:
        """True if a vector index gives the rows of each large partition that is scanned."""
        return bool(self.used) and not self._others

    @property
    def shown(self) -> str:
        """The other scans, in words."""
        return ", ".join(dict.fromkeys(map(_described, self._others)))


def _described(scan: Scan) -> str:
    return f"{scan.node}{f' by {scan.index}' if scan.index else ''} on {scan.relation}"


def _unused(connection: Connection, uses_index: Callable[[], bool], searched: Searched, plan: _Plan) -> IndexUse:
    """Return why the planner does not use an index that the catalog has for the search."""
    shown = ", ".join(printable(index.name) for index in searched.usable) or "an index"
    if not _with_settings(connection, uses_index, {**_defaults(connection), **NO_OTHER_PLAN}):
        if plan.used:
            reason = f"{', '.join(map(printable, plan.used))} alone, and other partitions have none: {plan.shown}"
            return IndexUse((), Cause.NO_INDEX, reason, plan.shown)
        return IndexUse((), Cause.CONDITION, why_not(searched.usable, shown), plan.shown)
    if not searched.large:
        reason = f"{searched.table} has fewer than {LARGE:,} rows: reading all of them is faster than {shown}"
        return IndexUse((), Cause.SMALL, reason, plan.shown)
    settings = _guilty(connection, uses_index) or tuple(_tablespace_costs(connection, searched))
    if settings:
        kept = "a setting keeps" if len(settings) == 1 else "settings keep"
        return IndexUse((), Cause.SETTING, f"{kept} the planner off {shown}", plan.shown, settings)
    reason = f"the planner prefers {plan.shown} to the index, with the default costs, too"
    return IndexUse((), Cause.COSTS, reason, plan.shown)


def _guilty(connection: Connection, uses_index: Callable[[], bool]) -> tuple[PlannerSetting, ...]:
    """Return the settings without which the planner would use the index: one, if one alone is enough."""
    changed = changed_settings(connection)
    for setting in changed:
        if _with_settings(connection, uses_index, {setting.name: setting.default}):
            return (setting,)
    return tuple(changed) if changed and _with_settings(connection, uses_index, _defaults(connection)) else ()


def _tablespace_costs(connection: Connection, searched: Searched) -> list[PlannerSetting]:
    """Return the costs of tablespaces that are worse for an index than the defaults. No session can change them."""
    tables = [leaf.oid for leaf in searched.leaves]
    rows = query_catalog(connection, _TABLESPACE_COSTS, {"tables": tables})
    return [PlannerSetting(name, value, "", "", tablespace) for name, value, tablespace in rows]


def _defaults(connection: Connection) -> dict[str, str]:
    return {setting.name: setting.default for setting in changed_settings(connection)}


def _with_settings(connection: Connection, uses_index: Callable[[], bool], settings: dict[str, str]) -> bool:
    with connection.transaction(force_rollback=True):
        for name, value in settings.items():
            set_locally(connection, name, value)
        return uses_index()


def _shown(setting: PlannerSetting, *, sources: bool) -> str:
    if setting.tablespace:
        return f"{setting.name} = {printable(setting.value)} of the tablespace {printable(setting.tablespace)}"
    source = f" ({_SOURCES.get(setting.source, setting.source)})" if sources else ""
    return f"{setting.name} = {printable(setting.value)}{source}"
