-- The objects of a schema, as rows of (object, part, definition): a part is a column, a constraint, an index, ...
-- Names on the search_path are unqualified, so that two schemas can be compared.
-- Every operator has the exact types of one in pg_catalog: these schemas may have a better match, of another role.
-- Owners, privileges, comments, the order of columns and the objects of extensions are left out.
WITH relations AS (
  SELECT c.*, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                             WHEN 'f' THEN 'foreign table' ELSE 'table' END || ' ' || c.relname::text AS object
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = pg_catalog.to_regnamespace(%(schema)s)::oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass::oid AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT object, '', pg_catalog.concat_ws(' ', 'persistence ' || r.relpersistence::text,
         'with ' || nullif(pg_catalog.array_to_string(r.reloptions, ', '), ''),
         'partition by ' || pg_catalog.pg_get_partkeydef(r.oid), pg_catalog.pg_get_expr(r.relpartbound, r.oid),
         CASE WHEN r.relrowsecurity THEN 'row security' END, CASE WHEN r.relforcerowsecurity THEN 'forced' END,
         'replica identity ' || nullif(r.relreplident, 'd')::text,
         (SELECT v.srvname::text || ' ' || coalesce(f.ftoptions::text, '') FROM pg_catalog.pg_foreign_table f
          JOIN pg_catalog.pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = r.oid),
         CASE WHEN r.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(r.oid, true) END,
         (SELECT pg_catalog.string_agg(p.inhparent::regclass::text, ', ' ORDER BY p.inhseqno)
          FROM pg_catalog.pg_inherits p WHERE p.inhrelid = r.oid))
FROM relations r
UNION ALL
SELECT object, 'column ' || a.attname::text, pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
         CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text END,
         CASE WHEN a.attnotnull THEN 'not null' END, 'identity ' || nullif(a.attidentity::text, ''),
         'generated ' || nullif(a.attgenerated::text, ''), 'storage ' || nullif(a.attstorage, t.typstorage)::text,
         'default ' || pg_catalog.pg_get_expr(f.adbin, f.adrelid),
         'compression ' || nullif(a.attcompression, '')::text, 'statistics ' || nullif(a.attstattarget, -1)::text,
         'with ' || pg_catalog.array_to_string(a.attoptions, ', '))
FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = r.oid AND f.adnum = a.attnum
WHERE r.relkind <> 'S'
UNION ALL
SELECT object, 'constraint ' || k.conname::text, pg_catalog.pg_get_constraintdef(k.oid, true)
FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
WHERE k.contype <> 't'  -- constraint triggers are among the triggers
  AND (k.contype <> 'n' OR NOT k.convalidated)  -- NOT NULL is in the column's part, unless NOT VALID
UNION ALL
SELECT object, 'index ' || x.relname::text,
       pg_catalog.pg_get_indexdef(x.oid, 0, true) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END
FROM relations r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
UNION ALL
SELECT object, 'trigger ' || g.tgname::text, pg_catalog.pg_get_triggerdef(g.oid, true) || ' enabled ' || g.tgenabled::text
FROM relations r JOIN pg_catalog.pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
UNION ALL
SELECT object, 'rule ' || u.rulename::text, pg_catalog.pg_get_ruledef(u.oid, true) || ' enabled ' || u.ev_enabled::text
FROM relations r JOIN pg_catalog.pg_rewrite u ON u.ev_class = r.oid AND u.rulename <> '_RETURN'
UNION ALL
SELECT object, 'policy ' || p.polname::text, pg_catalog.concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text,
         pg_catalog.pg_get_expr(p.polqual, r.oid), pg_catalog.pg_get_expr(p.polwithcheck, r.oid))
FROM relations r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT object, 'values', pg_catalog.concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin,
         s.seqcache, s.seqcycle, (SELECT d.refobjid::regclass::text || '.' || a.attname::text
           FROM pg_catalog.pg_depend d
           JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
           WHERE d.classid = 'pg_catalog.pg_class'::regclass::oid AND d.objid = r.oid AND d.deptype IN ('a', 'i')))
FROM relations r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid
UNION ALL
SELECT 'routine ' || p.proname::text || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', '',
       pg_catalog.concat_ws(' ', p.prokind, l.lanname, pg_catalog.pg_get_function_arguments(p.oid),
         pg_catalog.pg_get_function_result(p.oid), p.provolatile, p.proisstrict, p.prosecdef, p.proleakproof,
         p.proparallel, p.procost, p.prorows, p.proconfig::text, p.prosrc, pg_catalog.pg_get_function_sqlbody(p.oid),
         a.aggtransfn::text, a.aggfinalfn::text, a.aggcombinefn::text, a.aggtranstype::regtype::text, a.agginitval)
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
WHERE p.pronamespace = pg_catalog.to_regnamespace(%(schema)s)::oid
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_proc'::regclass::oid AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'type ' || t.typname::text, '', pg_catalog.concat_ws(' ', t.typtype,
         (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
         (SELECT pg_catalog.string_agg(a.attname::text || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', '
                                       ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND NOT a.attisdropped),
         (SELECT pg_catalog.concat_ws(' ', g.rngsubtype::regtype, nullif(g.rngcollation, 0::oid)::regcollation)
          FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid),
         CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END,
         CASE WHEN t.typtype = 'd' THEN nullif(t.typcollation, 0::oid)::regcollation::text END,
         CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault,
         (SELECT pg_catalog.string_agg(k.conname::text || ' ' || pg_catalog.pg_get_constraintdef(k.oid, true), ', '
                                       ORDER BY k.conname)
          FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid))
FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE t.typnamespace = pg_catalog.to_regnamespace(%(schema)s)::oid
  AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_type'::regclass::oid AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'statistics ' || x.stxname::text, '', x.stxrelid::regclass::text || ' ' || x.stxkind::text || ' '
         || pg_catalog.pg_get_statisticsobjdef_columns(x.oid)
FROM pg_catalog.pg_statistic_ext x WHERE x.stxnamespace = pg_catalog.to_regnamespace(%(schema)s)::oid
UNION ALL
-- Of all other objects, such as collations, operators and text search, only the name.
SELECT o.type || ' ' || CASE WHEN pg_catalog.starts_with(o.identity, d.refobjid::regnamespace::text || '.')
                             THEN pg_catalog.substr(o.identity, pg_catalog.length(d.refobjid::regnamespace::text) + 2)
                             ELSE o.identity END, '', ''
FROM pg_catalog.pg_depend d, LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) o
WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass::oid
  AND d.refobjid = pg_catalog.to_regnamespace(%(schema)s)::oid AND d.deptype = 'n'
  AND d.classid NOT IN ('pg_catalog.pg_class'::regclass::oid, 'pg_catalog.pg_proc'::regclass::oid,
                        'pg_catalog.pg_type'::regclass::oid, 'pg_catalog.pg_extension'::regclass::oid, 'pg_catalog.pg_default_acl'::regclass::oid,
                        'pg_catalog.pg_statistic_ext'::regclass::oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
