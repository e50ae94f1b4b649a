-- Roles that may write to the ledger, except its owners, their members and superusers: by a grant on a table or column,
-- or as a member of pg_write_all_data (NOINHERIT members can SET ROLE to it). has_table_privilege knows no third way.
-- Names are quoted for SQL. A privilege granted by a role other than the owner must be revoked from that grantor.
WITH relations AS (
  SELECT c.oid, c.relowner, n.nspowner, c.relacl
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'pgvector_seed' AND c.relkind <> 'i'
), others AS (
  SELECT r.oid, r.rolname FROM pg_roles r
  WHERE r.rolname <> 'pg_write_all_data'
    AND NOT EXISTS (SELECT FROM relations
                    WHERE pg_has_role(r.oid, relowner, 'MEMBER')
                       OR pg_has_role(r.oid, nspowner, 'MEMBER'))
  UNION ALL SELECT 0, 'PUBLIC'
), grants AS (
  SELECT g.*, relowner FROM relations CROSS JOIN LATERAL aclexplode(relacl) g
  UNION ALL
  SELECT g.*, relowner FROM relations JOIN pg_attribute a ON a.attrelid = relations.oid
  CROSS JOIN LATERAL aclexplode(a.attacl) g
)
SELECT CASE others.oid WHEN 0 THEN rolname ELSE quote_ident(rolname) END,
       bool_or(grants.grantee IS NOT NULL),
       coalesce(bool_or(privilege_type IN ('REFERENCES', 'TRIGGER')), false),
       others.oid <> 0 AND pg_has_role(others.oid, 'pg_write_all_data', 'MEMBER'),
       coalesce(array_agg(DISTINCT quote_ident(pg_get_userbyid(grantor)))
                FILTER (WHERE grantor <> relowner), '{}')
FROM others
LEFT JOIN grants ON grantee = others.oid
  AND privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER')
WHERE grantee IS NOT NULL
   OR others.oid <> 0 AND pg_has_role(others.oid, 'pg_write_all_data', 'MEMBER')
GROUP BY others.oid, rolname
ORDER BY rolname
