-- The objects of a role in a schema, as rows of (kind, identity), both as ALTER ... OWNER TO takes them. Left out are
-- those that follow another object (a serial column's sequence, a row type, a multirange) or belong to an extension.
WITH owned AS (
  SELECT 'pg_class'::regclass AS classid, oid, relowner AS owner, relnamespace AS namespace
  FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL SELECT 'pg_proc'::regclass, oid, proowner, pronamespace FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, oid, typowner, typnamespace FROM pg_type
            WHERE typtype IN ('e', 'd', 'r', 'b')
  UNION ALL SELECT 'pg_type'::regclass, c.reltype, relowner, relnamespace FROM pg_class c
            WHERE relkind = 'c'
  UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner, oprnamespace FROM pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner, opcnamespace FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner, opfnamespace FROM pg_opfamily
  UNION ALL SELECT 'pg_collation'::regclass, oid, collowner, collnamespace FROM pg_collation
  UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner, connamespace FROM pg_conversion
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner, stxnamespace
            FROM pg_statistic_ext
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner, dictnamespace FROM pg_ts_dict
  UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner, cfgnamespace FROM pg_ts_config
)
SELECT CASE i.type WHEN 'statistics object' THEN 'STATISTICS' WHEN 'aggregate' THEN 'ROUTINE' ELSE upper(i.type) END, i.identity
FROM owned o CROSS JOIN LATERAL pg_identify_object(o.classid, o.oid, 0) i
JOIN pg_namespace n ON n.oid = o.namespace
WHERE n.nspname = %(schema)s AND pg_get_userbyid(o.owner) = %(owner)s
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = o.classid AND d.objid = o.oid AND d.objsubid = 0
                    AND (d.deptype IN ('e', 'i') AND NOT (d.deptype = 'i' AND i.type = 'table')
                         OR d.deptype = 'a' AND i.type = 'sequence'))
ORDER BY i.type <> 'table', i.type, i.identity
