"""Which vector index serves a search, and if none does, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pgvector_seed.common.text import printable
from pgvector_seed.postgres.catalog import find_builder
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.explain import PlannerSetting, Scan, changed_settings, set_locally
from pgvector_seed.vectors.indexes import ColumnIndex, vector_index_names
from pgvector_seed.vectors.metrics import OPERATORS, metric_of
from pgvector_seed.vectors.tables import LARGE, Leaf

Explain: TypeAlias = Callable[[], Sequence[Scan]]

# With these, every plan but a scan in the order of an index costs too much.
_NO_OTHER_PLAN = {"enable_seqscan": "off", "enable_sort": "off", "enable_bitmapscan": "off"}
_SOURCES = {
    "client": "from PGOPTIONS or the connection's options",
    "command line": "from the server's command line",
    "configuration file": "from the server's configuration",
    "database": "from ALTER DATABASE",
    "database user": "from ALTER ROLE ... IN DATABASE",
    "session": "set in this session",
    "user": "from ALTER ROLE",
}


class Cause(StrEnum):
    """The cause if no vector index serves a search."""

    NO_INDEX = "no index"
    METRIC = "metric"
    BROKEN = "broken"
    CONDITION = "condition"
    SMALL = "small"
    SETTING = "setting"
    COSTS = "costs"
    EXACT = "exact"


@dataclass(frozen=True)
class Searched:
    """The table of a search: its name for a message, its vector indexes, and the partitions that count.

    ``indexes`` are those on the searched column. ``leaves`` are all partitions, ``large`` those with LARGE rows.
    """

    table: str
    column: str
    metric: str
    indexes: Sequence[ColumnIndex]
    leaves: Sequence[Leaf]
    large: Sequence[Leaf]


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

    def with_sources(self) -> str:
        """Return the settings with their sources, in words."""
        return ", ".join(f"{_shown(item)} ({_SOURCES.get(item.source, item.source)})" for item in self.settings)


def find_index_use(connection: Connection, explain: Explain, searched: Searched) -> IndexUse:
    """Return the vector indexes that serve a search, or the reason why none does.

    ``explain`` returns the scans of its plan in this session. Call it in a transaction: settings are changed, and
    restored by rolling back to a savepoint.
    """
    names = vector_index_names(connection, [leaf.oid for leaf in searched.leaves])
    plan = _Plan(explain(), searched, names)
    if plan.is_served:
        return IndexUse(plan.used)
    if not plan.scans:
        return IndexUse((), Cause.CONDITION, "PostgreSQL sees without reading the table that no row can be found")
    unusable = _unusable(connection, searched)
    if unusable:
        return IndexUse((), *unusable, plan.shown)
    return _unused(connection, lambda: _Plan(explain(), searched, names).is_served, searched, plan.shown)


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


def _unusable(connection: Connection, searched: Searched) -> tuple[Cause, str] | None:
    """Return the cause and the reason if the catalog alone tells that no index can serve the search, or None."""
    metric = searched.metric
    if not searched.indexes:
        return Cause.NO_INDEX, f"{searched.table} has no vector index on {printable(searched.column)}"
    serving = [index for index in searched.indexes if index.serves(OPERATORS[metric])]
    if not serving:
        words = "; ".join(map(_of_other_metric, searched.indexes))
        return Cause.METRIC, f"no index is for {metric}: {words}"
    if all(index.is_broken for index in serving):
        return Cause.BROKEN, "; ".join(_broken(connection, index) for index in serving)
    return None


def _of_other_metric(index: ColumnIndex) -> str:
    metrics = ", ".join(metric_of(operator) for operator in index.operators if operator in OPERATORS.values())
    return f"{printable(index.name)} is for {metrics} ({printable(index.operator_class)}) alone"


def _broken(connection: Connection, index: ColumnIndex) -> str:
    builder = find_builder(connection, index.oid)
    if builder:
        return f"{printable(index.name)} is being built, by server process {builder.pid}"
    return f"{printable(index.name)} is invalid: its build was interrupted, or a partition has no such index"


def _unused(connection: Connection, uses_index: Callable[[], bool], searched: Searched, scans: str) -> IndexUse:
    """Return why the planner does not use an index that the catalog has for the search."""
    operator = OPERATORS[searched.metric]
    usable = [index for index in searched.indexes if index.serves(operator) and not index.is_broken]
    shown = ", ".join(printable(index.name) for index in usable)
    if not _with_settings(connection, uses_index, {**_defaults(connection), **_NO_OTHER_PLAN}):
        return IndexUse((), Cause.CONDITION, _cannot(usable, shown), scans)
    if not searched.large:
        reason = f"{searched.table} has fewer than {LARGE:,} rows: reading all of them is faster than {shown}"
        return IndexUse((), Cause.SMALL, reason, scans)
    settings = _guilty(connection, uses_index)
    if settings:
        kept = "a setting keeps" if len(settings) == 1 else "settings keep"
        words = ", ".join(map(_shown, settings))
        return IndexUse((), Cause.SETTING, f"{kept} the planner off {shown}: {words}", scans, settings)
    reason = f"{scans}: with the default costs, too, the planner prefers it to the index"
    return IndexUse((), Cause.COSTS, reason, scans)


def _cannot(usable: Iterable[ColumnIndex], shown: str) -> str:
    partial = [
        f"{printable(index.name)} has only rows with {printable(index.predicate)}"
        for index in usable
        if index.predicate is not None
    ]
    if partial:
        return f"the condition does not imply that of a partial index: {'; '.join(partial)}"
    return f"the planner cannot use {shown} for this search"


def _guilty(connection: Connection, uses_index: Callable[[], bool]) -> tuple[PlannerSetting, ...]:
    """Return the settings without which the planner would use the index: one, if one alone is enough."""
    changed = changed_settings(connection)
    for setting in changed:
        if _with_settings(connection, uses_index, {setting.name: setting.default}):
            return (setting,)
    return tuple(changed) if changed and _with_settings(connection, uses_index, _defaults(connection)) else ()


def _defaults(connection: Connection) -> dict[str, str]:
    return {setting.name: setting.default for setting in changed_settings(connection)}


def _with_settings(connection: Connection, uses_index: Callable[[], bool], settings: dict[str, str]) -> bool:
    with connection.transaction(force_rollback=True):
        for name, value in settings.items():
            set_locally(connection, name, value)
        return uses_index()


def _shown(setting: PlannerSetting) -> str:
    return f"{setting.name} = {printable(setting.value)}"
