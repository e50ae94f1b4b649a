-- A ledger of format 1, as pg_dump 16 wrote it: --schema=pgvector_seed --column-inserts --no-owner. Version 0.1.0 had
-- applied the two migrations that tests/migrate/test_format.py has, and the stack had declared a table and roles.

SET client_min_messages = warning;

-- Dumped from database version 16.14
-- Dumped by pg_dump version 16.14

--
-- Name: pgvector_seed; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA pgvector_seed;

--
-- Name: SCHEMA pgvector_seed; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA pgvector_seed IS 'What pgvector-seed applied to this database, and what it promises of it';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: deployment; Type: TABLE; Schema: pgvector_seed; Owner: -
--

CREATE TABLE pgvector_seed.deployment (
    only_row boolean DEFAULT true NOT NULL,
    ledger uuid DEFAULT gen_random_uuid() NOT NULL,
    declaration jsonb NOT NULL,
    schema_created boolean NOT NULL,
    unfinished jsonb DEFAULT '{}'::jsonb NOT NULL,
    catalogue jsonb DEFAULT '{}'::jsonb NOT NULL,
    contract jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT deployment_only_row_check CHECK (only_row)
);

--
-- Name: migrations; Type: TABLE; Schema: pgvector_seed; Owner: -
--

CREATE TABLE pgvector_seed.migrations (
    id text NOT NULL,
    "position" integer NOT NULL,
    checksum text NOT NULL,
    down text,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    duration interval NOT NULL,
    version text NOT NULL,
    applied_by text DEFAULT SESSION_USER NOT NULL
);

--
-- Data for Name: deployment; Type: TABLE DATA; Schema: pgvector_seed; Owner: -
--

INSERT INTO pgvector_seed.deployment (only_row, ledger, declaration, schema_created, unfinished, catalogue, contract) VALUES (true, 'e20c49e5-81e4-43be-9dbd-6c930975359e', '{"roles": {"owner": "postgres", "reader": "app_reader", "writer": "app_writer"}, "schema": "public", "tables": {"embeddings": {"rows": 3, "recall": {"k": 2, "minimum": 0.9}}}, "connection": {"host": "127.0.0.1", "port": 5432, "dbname": "app", "sslmode": "disable"}, "on_destroy": "retain", "minimum_version": "0.8.4"}', false, '{}', '{"schema": "public", "tables": [{"id": "id", "name": "public.embeddings", "type": "vector", "owner": "postgres", "table": "embeddings", "metric": "cosine", "vector": "embedding", "indexes": [{"name": "embeddings_hnsw", "method": "hnsw", "parameters": {"m": 8, "ef_construction": 64}}], "dimensions": 3}]}', '{"roles": {"reader": "app_reader", "writer": "app_writer"}, "ledger": {"id": "e20c49e5-81e4-43be-9dbd-6c930975359e", "migrations": [{"id": "0001_create_embeddings", "checksum": "dd441cc48eeb55a656811041b7fdde2e103f704bf58f3ee7b14fca1d8c6e246d"}, {"id": "0002_index_embeddings", "checksum": "766b81f945488425a1a7abddbd880444b59d0de2e2feebdf8420771e07e398b4"}]}, "tables": [{"id": "id", "name": "public.embeddings", "rows": 3, "type": "vector", "owner": "postgres", "metric": "cosine", "recall": {"k": 2, "minimum": 0.9}, "vector": "embedding", "indexes": [{"name": "embeddings_hnsw", "method": "hnsw", "parameters": {"m": 8, "ef_construction": 64}}], "dimensions": 3}], "contract": 1, "extension": {"name": "vector", "schema": "public", "minimum": "0.8.4"}, "connection": {"host": "127.0.0.1", "port": 5432, "dbname": "app", "sslmode": "disable"}}');

--
-- Data for Name: migrations; Type: TABLE DATA; Schema: pgvector_seed; Owner: -
--

INSERT INTO pgvector_seed.migrations (id, "position", checksum, down, applied_at, duration, version, applied_by) VALUES ('0001_create_embeddings', 1, 'dd441cc48eeb55a656811041b7fdde2e103f704bf58f3ee7b14fca1d8c6e246d', 'DROP TABLE embeddings;
', '2026-11-28 13:08:25.255645+00', '00:00:00.023086', '0.1.0', 'postgres');
INSERT INTO pgvector_seed.migrations (id, "position", checksum, down, applied_at, duration, version, applied_by) VALUES ('0002_index_embeddings', 2, '766b81f945488425a1a7abddbd880444b59d0de2e2feebdf8420771e07e398b4', NULL, '2026-11-28 13:08:25.297145+00', '00:00:00.03978', '0.1.0', 'postgres');

--
-- Name: deployment deployment_pkey; Type: CONSTRAINT; Schema: pgvector_seed; Owner: -
--

ALTER TABLE ONLY pgvector_seed.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (only_row);

--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: pgvector_seed; Owner: -
--

ALTER TABLE ONLY pgvector_seed.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (id);

--
-- Name: migrations migrations_position_key; Type: CONSTRAINT; Schema: pgvector_seed; Owner: -
--

ALTER TABLE ONLY pgvector_seed.migrations
    ADD CONSTRAINT migrations_position_key UNIQUE ("position");

--
-- Name: SCHEMA pgvector_seed; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA pgvector_seed TO app_writer;
GRANT USAGE ON SCHEMA pgvector_seed TO app_reader;

--
-- Name: TABLE deployment; Type: ACL; Schema: pgvector_seed; Owner: -
--

GRANT SELECT ON TABLE pgvector_seed.deployment TO app_writer;
GRANT SELECT ON TABLE pgvector_seed.deployment TO app_reader;

--
-- Name: TABLE migrations; Type: ACL; Schema: pgvector_seed; Owner: -
--

GRANT SELECT ON TABLE pgvector_seed.migrations TO app_writer;
GRANT SELECT ON TABLE pgvector_seed.migrations TO app_reader;
