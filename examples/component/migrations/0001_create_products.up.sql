CREATE TABLE products (
    sku text PRIMARY KEY,
    embedding vector(4) NOT NULL
);
CREATE INDEX products_embedding ON products USING hnsw (embedding vector_cosine_ops);
