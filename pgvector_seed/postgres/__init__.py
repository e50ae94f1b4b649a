"""How we speak to PostgreSQL: connecting, errors, reading the catalogue, the ledger and the contract."""
