"""Find out whether the table is still the article's: the sample must not insert into a table of the user's own."""

from __future__ import annotations

from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog

from . import article
from .answers import changed_ids, has_sample, prepare, stored_vectors

_COLUMNS = [("id", "integer"), ("embedding", article.TYPE)]
# Internal triggers are those of other tables' foreign keys, which do not keep a row out.
_TABLE = """
SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype IN ('c', 'f', 'x'))
    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique AND NOT indisprimary)
    AND EXISTS (
      SELECT FROM pg_index i JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
      WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indnatts = 1
        AND k.attname = 'id' AND k.attidentity <> 'a'
    ),
  has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT'),
  a.names, a.types, a.required
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') AS names,
    coalesce(array_agg(format_type(atttypid, atttypmod) ORDER BY attnum), '{}') AS types,
    bool_or((attnotnull OR typnotnull) AND NOT atthasdef AND attidentity = '') AS required
  FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
) a
WHERE n.nspname = %s AND c.relname = %s
"""


def reason_to_leave_out(connection: Connection, schema: str | None) -> str | None:
    """Return a short reason to leave out the sample, which would fail or write to the user's own table, or None.

    Columns that the user added behind the article's are no reason, unless they are required and a row is missing.
    """
    with connection.transaction():
        schema, _ = prepare(connection, schema)
        rows = query_catalog(connection, _TABLE, (schema, article.TABLE))
        if not rows:
            return f"there is no table {article.TABLE}"
        plain, writable, names, types, required = rows[0]
        columns = [(name, type_.rpartition(".")[2]) for name, type_ in zip(names, types, strict=True)]
        if not plain or columns[: len(_COLUMNS)] != _COLUMNS:
            return f"{article.TABLE} is not the article's"
        if not writable:
            return f"this login may not write to {article.TABLE}"
        vectors = stored_vectors(connection)
        if changed_ids(vectors):
            return f"other rows have the ids {min(article.VECTORS)} to {max(article.VECTORS)}"
        return f"{article.TABLE} requires more columns" if required and not has_sample(vectors) else None
