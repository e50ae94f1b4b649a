-- Format 3 records the declared indexes that were built, each with name, table and column.
ALTER TABLE pgvector_seed.deployment ADD COLUMN indexes jsonb NOT NULL DEFAULT '[]';
UPDATE pgvector_seed.deployment SET format = 3;
COMMENT ON COLUMN pgvector_seed.deployment.indexes IS
  'The indexes that were built because a stack declared them. One that is no longer declared is dropped';
