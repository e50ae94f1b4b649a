-- Facts about the ledger from the system catalog, in one row; its columns are the fields of LedgerFacts, in their order.
WITH relations AS (
  SELECT c.oid, c.relname, c.relowner, c.relkind, c.relrowsecurity, c.relhasrules, c.relhassubclass, c.relispartition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'pgvector_seed'
), columns AS (
  SELECT r.oid AS relation, r.relkind, r.relrowsecurity, r.relname, a.attname, a.attgenerated, t.typname,
         t.typnamespace = 'pg_catalog'::regnamespace AS is_plain
  FROM relations r
  JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
), owners AS (
  SELECT nspowner AS oid FROM pg_namespace WHERE nspname = 'pgvector_seed'
  UNION SELECT relowner FROM relations
), untrusted AS (
  -- An owner of the schema or of a relation in it who is not this login, its role, a superuser or the database's owner.
  SELECT o.rolname, o.rolcanlogin
  FROM owners JOIN pg_roles o ON o.oid = owners.oid
  WHERE NOT o.rolsuper AND o.rolname NOT IN (session_user, current_user)
    AND o.oid <> (SELECT datdba FROM pg_database WHERE datname = current_database())
  ORDER BY o.rolname
  LIMIT 1
)
SELECT
  EXISTS (SELECT FROM relations) AS "exists",
  (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'pgvector_seed') AS owner,
  current_user::text AS role,
  session_user::text AS login,
  (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS login_is_superuser,
  (SELECT rolname FROM untrusted) AS untrusted_owner,
  coalesce((SELECT rolcanlogin FROM untrusted), false) AS untrusted_owner_can_log_in,
  -- Of ordinary tables only: a view, or a type with a cast of its own, would run user-defined code.
  ARRAY(SELECT concat_ws(' ', relname, attname, typname) FROM columns
        WHERE relkind = 'r' AND NOT relrowsecurity AND is_plain AND attgenerated = '') AS columns,
  -- Code that runs when the tables are read, or a query on them is planned.
  EXISTS (SELECT FROM relations r LEFT JOIN pg_index i ON i.indexrelid = r.oid
          WHERE r.relkind NOT IN ('r', 'i') OR r.relrowsecurity OR r.relhasrules OR r.relhassubclass
             OR r.relispartition OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
             OR EXISTS (SELECT FROM pg_statistic_ext s WHERE s.stxrelid = r.oid))
    OR EXISTS (SELECT FROM columns WHERE attgenerated <> '' OR NOT is_plain) AS runs_when_read,
  -- Internal triggers count: they enforce a foreign key from a table that may have triggers of its own.
  EXISTS (SELECT FROM pg_trigger g JOIN relations r ON r.oid = g.tgrelid) AS runs_when_written
