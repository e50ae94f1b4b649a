"""pgvector: vector columns and indexes, the nearest-neighbor query, its plan and its recall."""
