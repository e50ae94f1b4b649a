"""SQL migrations: planning, applying and undoing them, and the ledger in which they are recorded."""
