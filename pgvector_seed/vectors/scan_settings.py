"""The settings of an index scan for one search: how far it goes on, and how much of the index it visits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.extension import is_older, require_extension
from pgvector_seed.vectors.reader import load_library

# A scan ends after hnsw.ef_search rows, or the lists of ivfflat.probes, unless it is iterative: a filter, or a larger
# limit, would get fewer rows than there are. Source: the section "Iterative Index Scans" of pgvector's README.
ITERATIVE_SCANS = {"hnsw.iterative_scan": "strict_order", "ivfflat.iterative_scan": "relaxed_order"}
ITERATIVE_SINCE = "0.8.0"
MOST_EF_SEARCH, MOST_PROBES = 1000, 32768


# What was set for the role, the database or the session counts.
_DEFAULTS = """
SELECT name FROM pg_catalog.pg_settings
WHERE name OPERATOR(pg_catalog.=) ANY (%s) AND source OPERATOR(pg_catalog.=) 'default'
"""
# The schemas in which a name without one is looked up.
PATH = sql.SQL("CAST(pg_catalog.current_schemas(false) AS pg_catalog.text)")
_READ_ONLY = sql.SQL("pg_catalog.set_config('transaction_read_only', 'on', true)")
_SET = sql.SQL("pg_catalog.set_config({}, {}, true)")


class SearchSetting(NamedTuple):
    """The setting by which an access method trades time for recall. ``most`` is its largest value.

    ``scan_limit`` is the setting that ends an iterative scan. ``rebuild`` is the remedy if ``most`` is not enough.
    """

    name: str
    most: int
    scan_limit: str
    rebuild: str


SEARCH_SETTINGS = {
    "hnsw": SearchSetting(
        "hnsw.ef_search",
        MOST_EF_SEARCH,
        "hnsw.max_scan_tuples",
        "rebuild the index with larger m and ef_construction.",
    ),
    "ivfflat": SearchSetting(
        "ivfflat.probes",
        MOST_PROBES,
        "ivfflat.max_probes",
        "rebuild the index with other lists, now that the table has its rows.",
    ),
}
INSTEAD_OF_BITS = "use an index on the cast (as: halfvec) or on the column: bits tell too little of these vectors."


@dataclass(frozen=True)
class ScanSettings:
    """Settings by name that one transaction needs."""

    values: dict[str, str] = field(default_factory=dict)

    @cached_property
    def statement(self) -> bytes:
        """The statement that makes the transaction read-only, with these settings until its end. It returns PATH."""
        settings = [PATH, _READ_ONLY, *(_SET.format(*map(sql.Literal, pair)) for pair in self.values.items())]
        return (sql.SQL("SELECT ") + sql.SQL(", ").join(settings)).as_bytes()


def find_scan_settings(
    connection: Connection, extension: str, ef_search: int | None = None, probes: int | None = None
) -> ScanSettings:
    """Return the settings for a search: iterative scans, unless the session has its own, and the given values.

    ``extension`` is pgvector's schema. Raises InputError if a value is outside of pgvector's range.
    """
    values = {}
    for method, value in (("hnsw", ef_search), ("ivfflat", probes)):
        setting = SEARCH_SETTINGS[method]
        if value is not None and not 1 <= value <= setting.most:
            raise InputError(f"{setting.name} must be from 1 to {setting.most:,}, not {value:,}")
        if value is not None:
            values[setting.name] = str(value)
    if is_older(require_extension(connection).version, ITERATIVE_SINCE):
        return ScanSettings(values)
    load_library(connection, extension)
    defaults = [name for (name,) in connection.execute(_DEFAULTS, (list(ITERATIVE_SCANS),))]
    return ScanSettings({name: ITERATIVE_SCANS[name] for name in sorted(defaults)} | values)
