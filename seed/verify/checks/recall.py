"""The check recall: the reader's query returns the declared share of the exact nearest neighbors."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.vectors.column import CANDIDATES, VectorColumn
from pgvector_seed.vectors.queries import sample_queries
from pgvector_seed.vectors.recall import confidence_interval

from ..context import Context
from ..model import Check, Outcome, failed, not_declared, passed, skipped
from .measured import measured_recalls

# More queries narrow the interval: 400 tell a recall of 0.90 from a declared 0.95, even if some queries find nothing.
QUERIES = 400
MOST_DIMENSIONS = 64_000  # of bit, the largest of any type: the section "HNSW" of pgvector's README


class _Tuning(NamedTuple):
    """The setting of a reader that raises the recall of an access method, its maximum, and how to rebuild an index."""

    setting: str
    maximum: int
    rebuild: str


_TUNINGS = {
    "hnsw": _Tuning("hnsw.ef_search", 1000, "rebuild the index with larger m and ef_construction."),
    "ivfflat": _Tuning("ivfflat.probes", 32768, "rebuild the index with other lists."),
}
_INSTEAD_OF_BITS = "use an index on the cast (as: halfvec) or on the column: bits tell too little of these vectors."
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
        recalls = measured_recalls(context, column, queries, declared.k)
        if not recalls:
            return skipped("no stored vector has a neighbor to find", expected)
        recall = confidence_interval(recalls)
        actual = f"{recall.mean:.3f}, between {recall.low:.3f} and {recall.high:.3f}, by {recall.queries:,} queries"
        if recall.high >= declared.minimum:
            return passed(actual, expected)
        return failed(expected, actual, _remedy(context, column, declared.k))


def _remedy(context: Context, column: VectorColumn, k: int) -> str:
    """Return the statement that doubles the setting of the declared index for the readers. Needs their settings."""
    tuning = _tuning(context, column, k)
    if tuning is None:
        return _OTHER_METHOD
    current = int(context.fetch_value("SELECT pg_catalog.current_setting(%s)", tuning.setting))
    if current >= tuning.maximum:
        return tuning.rebuild.capitalize()
    value = min(2 * current, tuning.maximum)
    if tuning.setting in (context.contract.reader_settings or {}):
        key = setting_name("readerSettings")
        return f"Set {tuning.setting} to {value} in the stack's {key}, and deploy again.\nOr {tuning.rebuild}"
    database = sql.Identifier(context.fetch_value("SELECT pg_catalog.current_database()"))
    of_role = sql.SQL("ROLE {} IN ").format(sql.Identifier(context.reader.name)) if context.reader.name else sql.SQL("")
    remedy = sql.SQL(_RAISE.strip()).format(
        type=sql.Identifier(column.extension, "vector"),
        sessions=sql.SQL("{}DATABASE {}").format(of_role, database),
        setting=sql.SQL(tuning.setting),
        value=sql.Literal(value),
        rebuild=sql.SQL(tuning.rebuild),
    )
    return remedy.as_string()


def _tuning(context: Context, column: VectorColumn, k: int) -> _Tuning | None:
    """Return the tuning of the declared index that serves the column's query; None for an unknown access method."""
    form = (column.cast, column.bits)
    methods = [index.method for index in context.declared.indexes or () if (index.cast, bool(index.bits)) == form]
    method = next((method for method in methods if method in _TUNINGS), None)
    if method is None:
        return None
    tuning = _TUNINGS[method]
    if not column.bits:
        return tuning
    most = CANDIDATES * k if method == "hnsw" else tuning.maximum  # the query takes no more rows of the index
    return tuning._replace(maximum=min(most, tuning.maximum), rebuild=_INSTEAD_OF_BITS)


CHECK = Check(
    "recall",
    "the recall of the reader's query is below the declared minimum",
    run,
    after=("extension", "table", "column", "vectors", "index", "roles"),
)
