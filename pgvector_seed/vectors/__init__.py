"""pgvector: vector columns and indexes, the nearest-neighbour query, its plan and its recall."""
