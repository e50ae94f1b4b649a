"""Faults for which no check was written, as an attacker or a careless administrator makes them."""

from __future__ import annotations

from tests.verify.own_faults import Fault

UNFORESEEN = [
    # Names
    Fault(
        "stale-copy-found-first",
        "CREATE SCHEMA items_reader; GRANT USAGE ON SCHEMA items_reader TO items_reader;"
        "CREATE MATERIALIZED VIEW items_reader.items AS SELECT * FROM public.items WHERE id < 100;"
        "GRANT SELECT ON items_reader.items TO items_reader",
        ("table",),
    ),
    Fault(
        "writer-may-create-in-a-schema-that-the-reader-searches-first",
        "CREATE SCHEMA items_reader; GRANT USAGE ON SCHEMA items_reader TO items_reader;"
        "GRANT USAGE, CREATE ON SCHEMA items_reader TO items_writer",
        ("roles",),
    ),
    # Roles
    Fault(
        "writer-administers-the-owner",
        "GRANT items_owner TO items_writer WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        ("roles",),
        undo="REVOKE items_owner FROM items_writer",
    ),
    Fault(
        "reader-writes-through-a-view",
        "CREATE VIEW recent AS SELECT * FROM items WHERE id > 100; ALTER VIEW recent OWNER TO items_owner;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON recent TO items_reader",
        ("roles",),
    ),
    Fault(
        "reader-deletes-through-a-foreign-key",
        "CREATE TABLE documents (id bigint PRIMARY KEY); INSERT INTO documents VALUES (1);"
        "ALTER TABLE items ADD document bigint DEFAULT 1 REFERENCES documents ON DELETE CASCADE;"
        "VACUUM (FULL, ANALYZE) items;"
        "GRANT SELECT, DELETE ON documents TO items_reader",
        ("roles",),
    ),
    Fault(
        "writer-owns-the-type-of-a-column",
        "CREATE DOMAIN topic AS text; ALTER TABLE items ALTER label TYPE topic; ANALYZE items;"
        "ALTER DOMAIN topic OWNER TO items_writer",
        ("roles",),
    ),
    Fault(
        "writer-may-switch-triggers-and-keys-off",
        "GRANT SET ON PARAMETER session_replication_role TO items_writer",
        ("roles",),
        undo="REVOKE SET ON PARAMETER session_replication_role FROM items_writer",
    ),
    Fault(
        "writer-starts-without-triggers-and-keys",
        "ALTER ROLE items_writer SET session_replication_role = replica",
        ("roles",),
        undo="ALTER ROLE items_writer RESET session_replication_role",
    ),
    Fault(
        "reader-replicates",
        "ALTER ROLE items_reader REPLICATION",
        ("roles",),
        undo="ALTER ROLE items_reader NOREPLICATION",
    ),
    Fault(
        "reader-truncates-as-member-of-a-member",
        "CREATE ROLE of_inner NOLOGIN; CREATE ROLE of_outer NOLOGIN; GRANT TRUNCATE ON items TO of_inner;"
        "GRANT of_inner TO of_outer; GRANT of_outer TO items_reader WITH INHERIT FALSE, SET TRUE",
        ("roles",),
        undo="REVOKE of_outer FROM items_reader; DROP ROLE of_outer; DROP OWNED BY of_inner; DROP ROLE of_inner",
    ),
    Fault(
        "reader-cannot-finish-a-transaction",
        # PostgreSQL 16 has no timeout of the transaction.
        "DROP INDEX items_embedding_hnsw; DO $$ BEGIN EXECUTE format('ALTER ROLE items_reader SET %I = 1', "
        "(SELECT max(name) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout'))); END $$",
        ("roles",),
        {"recall": {"k": 2000, "minimum": 0.5}, "indexes": None},
        undo="ALTER ROLE items_reader RESET ALL",
    ),
    Fault(
        "reader-may-not-read-the-column-of-the-condition",
        "REVOKE SELECT ON items FROM items_reader; GRANT SELECT (id, embedding) ON items TO items_reader",
        ("roles",),
        {"recall": {"k": 10, "minimum": 0.9, "filter": "label"}},
    ),
    # Policies, constraints, publications
    Fault(
        "policy-that-no-row-meets",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY old ON items USING (id < 0)",
        ("roles",),
    ),
    Fault(  # not computed: a comparison of arrays runs the code of the type of their elements
        "policy-that-compares-arrays-of-a-type-of-others",
        "CREATE TYPE state AS ENUM ('new'); ALTER TABLE items ADD states state[] DEFAULT '{new}';"
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY never ON items USING (states <> states);"
        "ALTER TYPE state OWNER TO items_owner; ANALYZE items",
    ),
    Fault(
        "check-that-no-new-row-meets",
        "ALTER TABLE items ADD CONSTRAINT frozen CHECK (false) NOT VALID",
        ("roles",),
    ),
    Fault(
        "published-without-an-identity",
        "ALTER TABLE items REPLICA IDENTITY NOTHING; CREATE PUBLICATION changes FOR TABLE items",
        ("roles",),
    ),
    Fault(
        "published-by-columns-beside-the-identity",
        "CREATE PUBLICATION listed FOR TABLE items (label);"
        "CREATE PUBLICATION \"some rows\" FOR TABLE items WHERE (label <> '')",
        ("roles",),
    ),
    # The table
    Fault("sequence-counts-down", "ALTER SEQUENCE items_id_seq INCREMENT -1 MINVALUE -9000", ("sequence",)),
    Fault(
        "ids-null-under-a-unique-key",
        "ALTER TABLE items DROP CONSTRAINT items_pkey, ALTER id DROP IDENTITY, ALTER id DROP NOT NULL, ADD UNIQUE (id);"
        "UPDATE items SET id = NULL WHERE id <= 5; SELECT pg_stat_force_next_flush(); VACUUM (FULL, ANALYZE) items",
        ("column",),
    ),
    Fault(
        "ids-twice-under-an-invalid-key",
        "ALTER TABLE items DROP CONSTRAINT items_pkey; CREATE UNIQUE INDEX items_key ON items (id);"
        "UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'items_key'::regclass;"
        "INSERT INTO items SELECT * FROM items WHERE id <= 5; ANALYZE items",
        ("column",),
    ),
    Fault(
        "many-vectors-of-one-direction",
        "UPDATE items SET embedding = array_fill((1 + id * 0.001)::real, ARRAY[32])::vector WHERE id % 5 < 2;"
        "SELECT pg_stat_force_next_flush(); VACUUM (FULL, ANALYZE) items",
        ("vectors",),
    ),
    Fault(
        "freshness-of-columns-that-cannot-be-compared",
        "ALTER TABLE items ADD embedded text DEFAULT 'today', ADD updated timestamptz DEFAULT now()",
        ("vectors",),
        {"fresh": {"embedded": "embedded", "updated": "updated"}},
    ),
    # Indexes, statistics, plan
    Fault(
        "index-of-half-the-dimensions",
        "DROP INDEX items_embedding_hnsw; CREATE INDEX items_embedding_hnsw ON items USING hnsw "
        "((subvector(embedding, 1, 16)::vector(16)) vector_cosine_ops)",
        ("index",),
    ),
    Fault(
        "operator-class-of-another-metric-by-the-same-name",
        "CREATE SCHEMA app; CREATE OPERATOR CLASS app.vector_cosine_ops FOR TYPE vector USING hnsw AS"
        " OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,"
        " FUNCTION 1 vector_l2_squared_distance(vector, vector);"
        "DROP INDEX items_embedding_hnsw;"
        "CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding app.vector_cosine_ops)",
        ("index",),
    ),
    Fault(
        "tablespace-with-prohibitive-costs",
        "ALTER TABLESPACE pg_default SET (random_page_cost = 1000000)",
        ("plan",),
        undo="ALTER TABLESPACE pg_default RESET (random_page_cost)",
    ),
]
UNFORESEEN_FIXED_BY_REMEDY = {
    "check-that-no-new-row-meets",
    "operator-class-of-another-metric-by-the-same-name",
    "published-by-columns-beside-the-identity",
    "published-without-an-identity",
    "reader-cannot-finish-a-transaction",
    "reader-deletes-through-a-foreign-key",
    "reader-replicates",
    "reader-truncates-as-member-of-a-member",
    "reader-writes-through-a-view",
    "tablespace-with-prohibitive-costs",
    "writer-administers-the-owner",
    "writer-may-create-in-a-schema-that-the-reader-searches-first",
    "writer-may-switch-triggers-and-keys-off",
    "writer-owns-the-type-of-a-column",
    "writer-starts-without-triggers-and-keys",
}
