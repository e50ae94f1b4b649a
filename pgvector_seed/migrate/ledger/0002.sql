-- Format 2 records the ledger's format. A ledger without this column has format 1.
ALTER TABLE pgvector_seed.deployment ADD COLUMN format integer NOT NULL DEFAULT 2;
ALTER TABLE pgvector_seed.deployment ALTER COLUMN format DROP DEFAULT; -- INSERT must name it
COMMENT ON COLUMN pgvector_seed.deployment.format IS
  'The format of the ledger. pgvector-seed upgrades an older one before it writes, and refuses a newer one';
