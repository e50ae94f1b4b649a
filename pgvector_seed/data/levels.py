"""The index that serves a search, and the values of its setting that a tuning tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.data.search import Search
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.explain import Scan, plan_of
from pgvector_seed.vectors.indexes import INDEX_DEFAULTS
from pgvector_seed.vectors.metrics import OPERATORS, metric_of
from pgvector_seed.vectors.scan_settings import MOST_EF_SEARCH, MOST_PROBES, SEARCH_SETTINGS

EF_SEARCH = (20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, MOST_EF_SEARCH)
PROBES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1200, 2000, 3000, 5000, 8000, 12000, 20000)
# The vector indexes of a table and its partitions.
_INDEXES = """
SELECT x.relname, m.amname,
       (SELECT option_value::int4 FROM pg_options_to_table(x.reloptions) WHERE option_name = 'lists')
FROM (SELECT %(table)s::oid::regclass UNION SELECT relid FROM pg_partition_tree(%(table)s::oid)) AS tree (relid)
JOIN pg_index i ON i.indrelid = tree.relid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
WHERE x.relname = ANY (%(names)s)
  AND EXISTS (SELECT FROM pg_opclass c JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o'
              WHERE c.oid = i.indclass[0])
ORDER BY 1
"""


@dataclass(frozen=True)
class ServingIndex:
    """The index that a search uses, or those of the partitions. ``lists`` is 0 except for ivfflat."""

    names: tuple[str, ...]
    method: str
    lists: int = 0

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
    scans = plan_of(connection, search.statement, parameters)
    names = [scan.index for scan in scans if scan.index]
    rows = query_catalog(connection, _INDEXES, {"table": search.target.oid, "names": names}) if names else []
    if not rows:
        raise InputError(*_no_index(search, scans))
    default = int(INDEX_DEFAULTS["ivfflat"]["lists"])
    lists = max(row[2] or default for row in rows) if rows[0][1] == "ivfflat" else 0
    return ServingIndex(tuple(dict.fromkeys(row[0] for row in rows)), rows[0][1], lists)


def _no_index(search: Search, scans: Sequence[Scan]) -> tuple[str, str]:
    """Return the message and the remedy if no index serves."""
    metric = str(search.column.metric)
    column = f"{search.target.shown} ({search.column.name})"
    indexes = [index for index in search.indexes if OPERATORS[metric] in index.operators or index.bits]
    valid = [index.name for index in indexes if index.valid]
    if valid:
        scan = next((f"{scan.node} on {scan.relation}" for scan in scans if scan.relation), "another plan")
        words = f"PostgreSQL does not use {valid[0]} for this search ({scan}), so its answers are exact already"
        return words, "It prefers this for few rows, or if the condition leaves few. After a load, run: ANALYZE"
    others = [
        f"{index.name}: {', '.join(map(metric_of, index.operators))}" for index in search.indexes if index.operators
    ]
    words = f"no index on {column} serves the metric {metric}" + (f" ({'; '.join(others)})" if others else "")
    if indexes:
        words = f"{indexes[0].name} is not valid"
    return f"{words}: a search reads all rows, and its answers are exact", "Build an index, and measure it then."
