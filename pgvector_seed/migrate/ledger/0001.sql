-- Format 1. Created in the transaction of the first migration.
CREATE SCHEMA pgvector_seed;
COMMENT ON SCHEMA pgvector_seed IS 'What pgvector-seed applied to this database, and what it promises of it';

CREATE TABLE pgvector_seed.deployment (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  ledger uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
  declaration jsonb NOT NULL,
  schema_created boolean NOT NULL,
  unfinished jsonb NOT NULL DEFAULT '{}',
  catalogue jsonb NOT NULL DEFAULT '{}',
  contract jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE pgvector_seed.migrations (
  id text PRIMARY KEY,
  position integer NOT NULL UNIQUE,
  checksum text NOT NULL,
  down text,
  applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  duration interval NOT NULL,
  version text NOT NULL,
  applied_by text NOT NULL DEFAULT session_user
);
