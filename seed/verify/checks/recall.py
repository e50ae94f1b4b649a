"""The check recall: the reader's query returns the declared share of the exact nearest neighbors."""

from __future__ import annotations

import time

from psycopg import sql

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.migrate.contract import DeclaredRecall
from pgvector_seed.vectors.column import CANDIDATES, VectorColumn
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import Recall, confidence_interval, measure_recall
from pgvector_seed.vectors.scan_settings import INSTEAD_OF_BITS, SEARCH_SETTINGS, SearchSetting

from ..context import Context
from ..deadline import OutOfTimeError
from ..model import Check, Outcome, failed, not_declared, passed, skipped

# More queries narrow the interval: 400 tell a recall of 0.90 from a declared 0.95, even if some queries find nothing.
QUERIES = 400
MOST_DIMENSIONS = 64_000  # of bit, the largest of any type: the section "HNSW" of pgvector's README
FEWEST_QUERIES = 10
_SHARE_OF_TIME = 1 / 6

_OTHER_METHOD = (
    "Raise the search settings of the index for the readers,\nor rebuild it with parameters for a higher recall."
)
# The server lets only a superuser set a setting of a library that is not loaded in the session.
_RAISE = """
SELECT '[1]'::{type}; -- loads pgvector, which has the setting
ALTER {sessions} SET {setting} = {value};
-- If that is not enough, {rebuild}
"""


def run(context: Context) -> Outcome:
    """Measure recall with stored vectors; fail if the upper bound of the interval is below the declared minimum."""
    column, declared = context.vector_column, context.declared.recall
    if column is None or column.metric is None or declared is None:
        return not_declared("a recall")
    if context.catalog_column and context.catalog_column.modifier > MOST_DIMENSIONS:
        return skipped(f"more than {MOST_DIMENSIONS:,} dimensions: no index of pgvector takes as many")
    expected = f"recall@{declared.k} of at least {declared.minimum:g}"
    with context.as_reader(column):
        queries = sample_queries(context.connection, column, context.size_in_bytes, QUERIES)
        if not queries:
            return skipped("the table has no vector to query with", expected)
        recall = _measure(context, column, queries, declared)
        if recall is None:
            return skipped("no stored vector has a neighbor to find", expected)
        actual = f"{recall.mean:.3f}, between {recall.low:.3f} and {recall.high:.3f}, by {recall.queries:,} queries"
        if recall.high >= declared.minimum:
            return passed(actual, expected)
        return failed(expected, actual, _remedy(context, column, declared.k))


def _remedy(context: Context, column: VectorColumn, k: int) -> str:
    """Return the statement that doubles the setting of the declared index for the readers. Needs their settings."""
    setting = _search_setting(context, column, k)
    if setting is None:
        return _OTHER_METHOD
    current = int(context.fetch_value("SELECT pg_catalog.current_setting(%s)", setting.name))
    if current >= setting.most:
        return setting.rebuild.capitalize()
    value = min(2 * current, setting.most)
    if setting.name in (context.contract.reader_settings or {}):
        key = setting_name("readerSettings")
        return f"Set {setting.name} to {value} in the stack's {key}, and deploy again.\nOr {setting.rebuild}"
    database = sql.Identifier(context.fetch_value("SELECT pg_catalog.current_database()"))
    of_role = sql.SQL("ROLE {} IN ").format(sql.Identifier(context.reader.name)) if context.reader.name else sql.SQL("")
    remedy = sql.SQL(_RAISE.strip()).format(
        type=sql.Identifier(column.extension, "vector"),
        sessions=sql.SQL("{}DATABASE {}").format(of_role, database),
        setting=sql.SQL(setting.name),
        value=sql.Literal(value),
        rebuild=sql.SQL(setting.rebuild),
    )
    return remedy.as_string()


def _search_setting(context: Context, column: VectorColumn, k: int) -> SearchSetting | None:
    """Return the setting of the declared index that serves the column's query; None for an unknown access method."""
    form = (column.cast, column.bits)
    methods = [index.method for index in context.declared.indexes or () if (index.cast, bool(index.bits)) == form]
    method = next((method for method in methods if method in SEARCH_SETTINGS), None)
    if method is None:
        return None
    setting = SEARCH_SETTINGS[method]
    if not column.bits:
        return setting
    most = CANDIDATES * k if method == "hnsw" else setting.most  # the query takes no more rows of the index
    return setting._replace(most=min(most, setting.most), rebuild=INSTEAD_OF_BITS)


def _measure(context: Context, column: VectorColumn, queries: list[str], declared: DeclaredRecall) -> Recall | None:
    """Measure recall for a sixth of the time left. Returns None if no query has a neighbor.

    Raises OutOfTimeError if the time is over after fewer than 10 queries.
    """
    end = time.monotonic() + _SHARE_OF_TIME * context.deadline.seconds_left
    recalls: list[float] = []
    for recall in measure_recall(context.connection, column, queries, declared.k):
        recalls.append(recall)
        if time.monotonic() > end:
            if len(recalls) < min(FEWEST_QUERIES, len(queries)):
                raise OutOfTimeError(f"only {len(recalls)} queries could be run in a sixth of the time left")
            break
    return confidence_interval(recalls) if recalls else None


CHECK = Check(
    "recall",
    "the recall of the reader's query is below the declared minimum",
    run,
    after=("extension", "table", "column", "vectors", "index", "roles"),
)
