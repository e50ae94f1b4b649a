"""Constraints and publications for which the server refuses every write of a kind, whatever the row."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..model import Fault
from .expressions import Needs, compute, needs

# PostgreSQL 18 has constraints that are not enforced. A constraint that is not valid does not hold for older rows.
_CHECKS = """
SELECT c.conname, pg_get_expr(c.conbin, c.conrelid), c.conbin::text,
       NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
                   AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.conrelid))
FROM pg_constraint c
WHERE c.conrelid = %s AND c.contype = 'c' AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'
ORDER BY c.conname
"""
# A table whose changes are published needs an identity for its rows. The publication may name a partitioned table.
_UNIDENTIFIED = """
SELECT c.oid::regclass::text, string_agg(DISTINCT p.pubname, ', ' ORDER BY p.pubname),
       concat_ws(' and ', CASE WHEN bool_or(p.pubupdate) THEN 'UPDATE' END,
                          CASE WHEN bool_or(p.pubdelete) THEN 'DELETE' END),
       bool_or(EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate))
FROM pg_class c
CROSS JOIN pg_publication p
CROSS JOIN LATERAL pg_get_publication_tables(p.pubname) AS t
WHERE c.oid = ANY (%s::oid[])
  AND (p.pubupdate OR p.pubdelete)
  AND (t.relid = c.oid OR t.relid IN (SELECT relid FROM pg_partition_ancestors(c.oid)))
  AND c.relreplident <> 'f'
  AND NOT EXISTS (SELECT FROM pg_index i
                  WHERE i.indrelid = c.oid AND i.indisvalid
                    AND CASE c.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
                                            WHEN 'i' THEN i.indisreplident ELSE false END)
GROUP BY c.oid
ORDER BY 1
"""
# A publication with a list of columns needs all of the identity in it, and its condition may use no others.
_BESIDE_IDENTITY = """
SELECT c.oid::regclass::text, quote_ident(p.pubname)
FROM pg_class c
JOIN pg_publication_rel r ON r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
CROSS JOIN LATERAL (
  SELECT array_agg(a.attname) FROM pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND (c.relreplident = 'f' OR EXISTS (
      SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
        AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END))) AS identity (names)
CROSS JOIN LATERAL (
  SELECT array_agg(a.attname) FILTER (WHERE a.attnum = ANY (r.prattrs)),
         array_agg(a.attname) FILTER (WHERE a.attnum::text IN (
           SELECT match[1] FROM regexp_matches(r.prqual::text, ':varattno ([0-9]+)', 'g') AS match))
  FROM pg_attribute a WHERE a.attrelid = r.prrelid AND NOT a.attisdropped) AS published (listed, used)
WHERE c.oid = ANY (%s::oid[]) AND (NOT identity.names <@ published.listed OR NOT published.used <@ identity.names)
ORDER BY 1, 2
"""
_INSERTS_ALONE = """
ALTER PUBLICATION {} SET (publish = 'insert, truncate');
-- Or, to publish the others, too: list all columns of the replica identity, with a condition on these alone.
"""


def refusal_faults(context: Context, writer: str) -> Iterator[Fault]:
    """Yield a fault for each constraint that lets no row in, and for each table without a fitting identity."""
    connection, table = context.connection, context.sql_name.as_string()
    for name, expression, tree, is_pure in connection.execute(_CHECKS, (context.table.oid,)).fetchall():
        query = b"SELECT (" + expression.encode() + b"\n) IS FALSE"
        if needs(context, tree, is_pure=is_pure) is Needs.NOTHING and compute(context, query):
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {context.quote(name)};"
            yield Fault(f"the constraint {name} lets {writer} write no row", drop)
    leaves = [leaf.oid for leaf in context.leaves]
    for name, publications, commands, has_key in connection.execute(_UNIDENTIFIED, (leaves,)).fetchall():
        identity = f"ALTER TABLE {name} REPLICA IDENTITY {'DEFAULT' if has_key else 'FULL'};"
        message = f"{writer} cannot {commands}: {name} has no replica identity, which the publication needs"
        yield Fault(f"{message}: {publications}", identity)
    for name, publication in connection.execute(_BESIDE_IDENTITY, (leaves,)).fetchall():
        message = f"{writer} cannot UPDATE or DELETE what the publication {publication} has of {name}"
        yield Fault(
            f"{message}: its columns or its condition do not fit the replica identity",
            _INSERTS_ALONE.format(publication).strip(),
        )
