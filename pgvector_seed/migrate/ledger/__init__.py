"""The ledger of a deployment, the tables of the schema pgvector_seed: their format, upgrades, reading and writing."""
