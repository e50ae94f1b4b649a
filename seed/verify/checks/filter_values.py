"""The column by whose values recall is measured: its condition, and some of its values."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.vectors.column import VectorColumn

from ..context import Context
from ..sampling import scan_or_sample

_OF_EACH_KIND = 4  # values: the most frequent, and the rarest
_BLOCKS = 10_000  # of a sample

# The type of the column without a domain, and its operator: that of an index, or one in pg_catalog for a type that is
# compared as another, such as varchar or an enum. Only for these, no user's function runs: a domain of a domain has
# checks, and a composite type casts. So the text of a value is not made by a cast, either.
_FILTER = """
SELECT tn.nspname, t.typname, coalesce(n.nspname, 'pg_catalog'), coalesce(o.oprname, '=')
FROM pg_attribute a
JOIN pg_type own ON own.oid = a.atttypid
JOIN pg_type t ON t.oid = CASE WHEN own.typtype = 'd' THEN own.typbasetype ELSE own.oid END
JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_opclass c ON c.opcintype = t.oid AND c.opcdefault
                      AND c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
LEFT JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoplefttype = t.oid
                   AND m.amoprighttype = t.oid
LEFT JOIN pg_operator o ON o.oid = m.amopopr
LEFT JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE a.attrelid = %s AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype IN ('b', 'e')
"""
_CONDITION = "{filter} OPERATOR({operator}) CAST($1 AS {type})"
_VALUES = """
WITH sizes AS MATERIALIZED (
  SELECT pg_catalog.format('%s', {filter}) AS value, count(*) AS size
  FROM {table} {sample} WHERE {filter} IS NOT NULL AND {column} IS NOT NULL
  GROUP BY {filter} HAVING count(*) >= {k})
SELECT value
FROM ((SELECT value, size FROM sizes ORDER BY size DESC, value LIMIT {most})
      UNION (SELECT value, size FROM sizes ORDER BY size, value DESC LIMIT {most})) AS picked
ORDER BY size, value
"""


def find_filter(context: Context, name: str) -> sql.Composed | None:
    """Return the condition that the column is $1, or None if it does not exist, or its type has no plain values."""
    row = context.connection.execute(_FILTER, (context.table.oid, name)).fetchone()
    if row is None:
        return None
    return sql.SQL(_CONDITION).format(
        filter=sql.Identifier(name),
        operator=sql.SQL("{}.{}").format(sql.Identifier(row[2]), sql.SQL(row[3])),
        type=sql.Identifier(row[0], row[1]),
    )


def frequent_and_rare(context: Context, column: VectorColumn, name: str, k: int) -> list[str]:
    """Return the most frequent and the rarest values that have ``k`` rows, as text."""

    def scan(sample: sql.Composable) -> list[str]:
        statement = sql.SQL(_VALUES).format(
            filter=sql.Identifier(name),
            table=column.relation,
            sample=sample,
            column=sql.Identifier(column.name),
            k=k,
            most=_OF_EACH_KIND,
        )
        return [value for (value,) in context.connection.execute(statement)]

    values, _, _ = scan_or_sample(context, _BLOCKS, scan)
    return values
