"""The key of a vector index in the system catalog: a column, its cast to halfvec, or its bits."""

from __future__ import annotations

from psycopg import sql

# A row for the column that the index ``i`` of pg_index is on; no row for any other expression. The server's text of the
# expression is compared with a text that is composed of the server's own names of column, type and function. All of
# them have a schema, as the search_path of a catalog_snapshot has none but pg_catalog.
KEY = sql.SQL("""LATERAL (
    SELECT a.attnum, a.attname,
           CASE WHEN i.indkey[0] = 0 AND t.typname = 'halfvec' THEN 'halfvec' END AS halved,
           i.indkey[0] = 0 AND t.typname = 'bit' AS bits
    FROM pg_attribute k
    JOIN pg_type t ON t.oid = k.atttypid
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN (pg_extension e JOIN pg_namespace s ON s.oid = e.extnamespace) ON e.extname = 'vector'
    WHERE k.attrelid = i.indexrelid AND k.attnum = 1
      AND CASE
            WHEN i.indkey[0] <> 0 THEN a.attnum = i.indkey[0]
            WHEN t.typname = 'halfvec' AND t.typnamespace = s.oid AND k.atttypmod > 0
              THEN pg_get_expr(i.indexprs, i.indrelid)
                   = format('(%%I)::%%s', a.attname, format_type(t.oid, k.atttypmod))
            WHEN t.oid = 'bit'::regtype AND k.atttypmod > 0
              THEN pg_get_expr(i.indexprs, i.indrelid)
                   = format('(%%I.binary_quantize(%%I))::%%s', s.nspname, a.attname, format_type(t.oid, k.atttypmod))
          END
  ) AS key""")
