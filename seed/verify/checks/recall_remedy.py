"""The remedies for a low recall: a setting of the readers, or another index."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.vectors.column import CANDIDATES, VectorColumn
from pgvector_seed.vectors.scan_settings import INSTEAD_OF_BITS, ITERATIVE_SCANS, SEARCH_SETTINGS, SearchSetting

from ..context import Context

_OTHER_METHOD = (
    "Raise the search settings of the index for the readers,\nor rebuild it with parameters for a higher recall."
)
# The server lets only a superuser set a setting of a library that is not loaded in the session.
_RAISE = """
SELECT '[1]'::{type}; -- loads pgvector, which has the setting
ALTER {sessions} SET {setting} = {value};
-- If that is not enough, {rebuild}
"""


def recall_remedy(context: Context, column: VectorColumn, k: int) -> str:
    """Return the statement that doubles the setting of the declared index for the readers. Needs their settings."""
    setting = _search_setting(context, column, k)
    if setting is None:
        return _OTHER_METHOD
    current = int(context.fetch_value("SELECT pg_catalog.current_setting(%s)", setting.name))
    if current >= setting.most:
        return setting.rebuild.capitalize()
    return _set(context, column, setting.name, min(2 * current, setting.most), setting.rebuild)


def filter_remedy(context: Context, column: VectorColumn, k: int) -> str:
    """Return the statement for iterative scans, or the advice for a reader that has them. Needs their settings."""
    name = column_name(context)
    otherwise = f"index {name}, by which rare values are searched exactly; or partition the table by it."
    search = _search_setting(context, column, k)
    setting = search.name.partition(".")[0] + ".iterative_scan" if search else ""
    if setting and context.fetch_value("SELECT pg_catalog.current_setting(%s, true)", setting) == "off":
        return _set(context, column, setting, ITERATIVE_SCANS[setting], otherwise)
    return otherwise[0].upper() + otherwise[1:]


def column_name(context: Context) -> str:
    """Return the column by whose values recall is declared, quoted for SQL."""
    assert context.declared.recall is not None
    assert context.declared.recall.filter is not None
    return context.quote(context.declared.recall.filter)


def _set(context: Context, column: VectorColumn, setting: str, value: int | str, otherwise: str) -> str:
    """Return the statement that gives a setting to the readers, and what to do ``otherwise``."""
    if setting in (context.contract.reader_settings or {}):
        key = setting_name("readerSettings")
        return f"Set {setting} to {value} in the stack's {key}, and deploy again.\nOr {otherwise}"
    database = sql.Identifier(context.fetch_value("SELECT pg_catalog.current_database()"))
    of_role = sql.SQL("ROLE {} IN ").format(sql.Identifier(context.reader.name)) if context.reader.name else sql.SQL("")
    remedy = sql.SQL(_RAISE.strip()).format(
        type=sql.Identifier(column.extension, "vector"),
        sessions=sql.SQL("{}DATABASE {}").format(of_role, database),
        setting=sql.SQL(setting),
        value=sql.Literal(value),
        rebuild=sql.SQL(otherwise),
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
