CREATE TABLE embeddings (
  id SERIAL PRIMARY KEY,
  embedding VECTOR(4)
);
