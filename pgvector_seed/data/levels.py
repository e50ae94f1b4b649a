"""The index that serves a search, and the values of its setting that a tuning tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.data.plans import plan_of
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.indexes import indexes_on_tables
from pgvector_seed.vectors.scan_settings import MOST_EF_SEARCH, MOST_PROBES, SEARCH_SETTINGS
from pgvector_seed.vectors.tables import leaves
from pgvector_seed.vectors.unusable import Cause

EF_SEARCH = (20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, MOST_EF_SEARCH)
PROBES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1200, 2000, 3000, 5000, 8000, 12000, 20000)
_REMEDIES = {
    Cause.SMALL: "So few rows need no index.",
    Cause.SETTING: "Reset it, and measure again.",
    Cause.COSTS: "After a load, run: ANALYZE",
}
_BUILD = "Build an index that serves it, and measure then."


@dataclass(frozen=True)
class ServingIndex:
    """The index that a search uses, or those of the partitions. ``lists`` counts only for ivfflat."""

    names: tuple[str, ...]
    method: str
    lists: int

    @property
    def shown(self) -> str:
        """The name, with the number of the others."""
        others = len(self.names) - 1
        return self.names[0] + (f" and {counted(others, 'other')}" if others else "")

    @property
    def setting(self) -> str | None:
        """The setting to tune, or None if it is not known."""
        return SEARCH_SETTINGS[self.method].name if self.method in SEARCH_SETTINGS else None

    def with_value(self, value: int | None) -> dict[str, str]:
        """Return the setting with a value; nothing if the setting is not known."""
        return {} if value is None or self.setting is None else {self.setting: str(value)}

    def own(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return those of the settings that are of the index's method, the one to tune first."""
        own = [name for name in settings if name.startswith(f"{self.method}.")]
        return {name: settings[name] for name in sorted(own, key=lambda name: (name != self.setting, name))}

    def levels(self, k: int) -> Iterator[int | None]:
        """Yield the values of the setting, from small to large; None once if the setting is not known."""
        if self.method == "hnsw":  # a scan begins with ef_search rows
            yield min(k, MOST_EF_SEARCH)
            yield from (value for value in EF_SEARCH if value > k)
        elif self.method == "ivfflat":
            most = min(self.lists, MOST_PROBES)
            yield from (value for value in PROBES if value < most)
            yield most
        else:
            yield None


def serving_index(connection: Connection, search: Search, parameters: Sequence[object]) -> ServingIndex:
    """Return the index by which the server would answer. ``parameters`` are those of the search's statement.

    Raises InputError if there is none.
    """
    use = plan_of(connection, search, parameters)
    if use.cause is not None:
        reason = use.explained(sources=True)
        raise InputError(
            f"no index serves the search, so its answers are exact: {reason}", _REMEDIES.get(use.cause, _BUILD)
        )
    tables = [leaf.oid for leaf in leaves(connection, search.target.oid)]
    indexes = [index for index in indexes_on_tables(connection, tables) if index.name in use.indexes]
    return ServingIndex(use.indexes, indexes[0].method, max(index.lists for index in indexes))
