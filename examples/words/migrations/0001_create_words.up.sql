CREATE TABLE words (
    id bigint PRIMARY KEY, -- the rank by frequency: 1 is "the"
    word text NOT NULL UNIQUE,
    embedding vector(50) NOT NULL
);
