"""The objects that the answers from a table depend on, with their owners and their rights, as SQL."""

from __future__ import annotations

# The table with its partitions and children, and the relations, types and functions that they use. ``ways`` are other
# relations whose privileges write to it: a table to which a foreign key with an action refers, and a view that has the
# rights of its owner and passes statements on to its first relation, if no rule or trigger takes them instead.
# ``commands`` has the number of a command in pg_rewrite and its bit in tgtype of pg_trigger.
OBJECTS = """
tables AS (SELECT %(table)s::oid AS oid UNION SELECT inhrelid FROM pg_inherits JOIN tables ON inhparent = oid),
commands (privilege, rule, instead_of) AS (VALUES ('UPDATE', '2', 16), ('INSERT', '3', 4), ('DELETE', '4', 8)),
ways (oid, privilege) AS (
  SELECT oid, privilege FROM tables, commands
  UNION SELECT way.oid, way.privilege FROM ways w CROSS JOIN LATERAL (
    SELECT confrelid, 'DELETE' FROM pg_constraint
    WHERE conrelid = w.oid AND (confdeltype, w.privilege) IN (('c', 'DELETE'), ('n', 'UPDATE'), ('d', 'UPDATE'))
    UNION ALL SELECT confrelid, 'UPDATE' FROM pg_constraint
    WHERE conrelid = w.oid AND confupdtype IN ('c', 'n', 'd') AND w.privilege = 'UPDATE'
    UNION ALL SELECT v.oid, w.privilege
    FROM commands c
    JOIN pg_depend d ON c.privilege = w.privilege
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = w.oid
      AND substring(r.ev_action::text FROM ':relid ([0-9]+)') = w.oid::text
      AND pg_relation_is_updatable(v.oid, false) & (1 << c.rule::int) <> 0
      AND NOT EXISTS (SELECT FROM pg_rewrite i WHERE i.ev_class = v.oid AND i.is_instead AND i.ev_type = c.rule::"char")
      AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = v.oid AND g.tgtype & 64 <> 0
                                                 AND g.tgtype & c.instead_of <> 0)
      AND has_table_privilege(v.relowner, w.oid, w.privilege)
      AND NOT EXISTS (SELECT FROM pg_options_to_table(v.reloptions)
                      WHERE option_name = 'security_invoker' AND option_value::bool)) AS way (oid, privilege)),
types (oid) AS (
  SELECT a.atttypid FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION SELECT part FROM types t JOIN pg_type y USING (oid), unnest(ARRAY[y.typbasetype, y.typelem]) AS part
  WHERE part <> 0),
defaults AS (SELECT a.oid FROM pg_attrdef a JOIN tables t ON t.oid = a.adrelid),
relations AS (
  SELECT 'TABLE' AS kind, oid FROM tables
  UNION ALL SELECT 'INDEX', indexrelid FROM pg_index JOIN tables ON oid = indrelid
  UNION SELECT 'SEQUENCE', s.oid
  FROM pg_depend d
  JOIN pg_class s ON s.relkind = 'S' AND ((d.objid, d.classid) = (s.oid, 'pg_class'::regclass)
                                          OR (d.refobjid, d.refclassid) = (s.oid, 'pg_class'::regclass))
  WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM tables) AND d.deptype IN ('a', 'i'))
     OR (d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT oid FROM defaults))),
extensions AS (SELECT * FROM pg_extension WHERE extname = %(extension)s),
members AS (SELECT d.classid, d.objid FROM pg_depend d JOIN extensions e ON d.refobjid = e.oid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
users AS (
  SELECT 'pg_class'::regclass AS classid, oid FROM relations
  UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM defaults
  UNION ALL SELECT 'pg_trigger'::regclass, g.oid FROM pg_trigger g JOIN tables t ON t.oid = tgrelid
  UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN tables t ON t.oid = polrelid
  UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN tables t ON t.oid = conrelid
  UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
            WHERE contypid = ANY (ARRAY(SELECT oid FROM types))),
functions AS (
  SELECT objid AS oid FROM members WHERE classid = 'pg_proc'::regclass
  UNION SELECT d.refobjid FROM pg_depend d JOIN users u ON (d.classid, d.objid) = (u.classid, u.oid)
        WHERE d.refclassid = 'pg_proc'::regclass),
objects (kind, name, owner, attribute, acl) AS (
  SELECT r.kind, format('%%I.%%I', n.nspname, c.relname), c.relowner, a.*
  FROM relations r
  JOIN pg_class c ON c.oid = r.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT NULL::name, c.relacl
                      UNION ALL SELECT attname, attacl FROM pg_attribute
                                WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL) AS a
  UNION ALL
  SELECT 'WAY', format('%%I.%%I', n.nspname, c.relname), NULL, a.attribute,
         ARRAY(SELECT makeaclitem(e.grantee, e.grantor, e.privilege_type, e.is_grantable) FROM aclexplode(a.acl) AS e
               WHERE (c.oid, e.privilege_type) IN (SELECT oid, privilege FROM ways))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT NULL::name, coalesce(c.relacl, acldefault('r', c.relowner))
                      UNION ALL SELECT attname, attacl FROM pg_attribute
                                WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL
                     ) AS a (attribute, acl)
  WHERE c.oid IN (SELECT oid FROM ways) AND c.oid NOT IN (SELECT oid FROM tables)
  UNION ALL
  SELECT 'SCHEMA', quote_ident(nspname), nspowner, NULL, nspacl FROM pg_namespace
  WHERE oid IN (SELECT extnamespace FROM extensions
                UNION ALL SELECT c.relnamespace FROM pg_class c JOIN relations r ON r.oid = c.oid)
  UNION ALL
  SELECT 'DATABASE', quote_ident(datname), datdba, NULL, datacl FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT 'EXTENSION', quote_ident(extname), extowner, NULL, NULL FROM extensions
  UNION ALL
  SELECT 'FUNCTION', oid::regprocedure::text, proowner, NULL, proacl FROM pg_proc JOIN functions USING (oid)
  UNION ALL
  SELECT 'TYPE', oid::regtype::text, typowner, NULL, typacl FROM pg_type
  WHERE typcategory <> 'A' AND (oid IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
                                OR oid IN (SELECT oid FROM types))
  UNION ALL
  SELECT 'COLLATION', format('%%I.%%I', n.nspname, o.collname), collowner, NULL, NULL
  FROM pg_collation o JOIN pg_namespace n ON n.oid = o.collnamespace
  WHERE o.oid IN (SELECT a.attcollation FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid)
  UNION ALL
  SELECT 'OPERATOR', oid::regoperator::text, oprowner, NULL, NULL FROM pg_operator
  WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_operator'::regclass)
  UNION ALL
  SELECT 'OPERATOR CLASS', format('%%I.%%I USING %%I', n.nspname, o.opcname, a.amname), opcowner, NULL, NULL
  FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
  WHERE o.oid IN (SELECT objid FROM members WHERE classid = 'pg_opclass'::regclass)
  UNION ALL
  SELECT 'PARAMETER', parname, NULL, NULL, paracl FROM pg_parameter_acl)
"""
