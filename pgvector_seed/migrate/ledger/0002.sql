-- Format 2: the ledger says which format it has. Without this column, it has format 1.
ALTER TABLE pgvector_seed.deployment ADD COLUMN format integer NOT NULL DEFAULT 2;
ALTER TABLE pgvector_seed.deployment ALTER COLUMN format DROP DEFAULT; -- who makes the row says it
COMMENT ON COLUMN pgvector_seed.deployment.format IS
  'The format of the ledger. pgvector-seed upgrades an older one before it writes, and refuses a newer one';
