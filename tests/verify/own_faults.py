"""More seeded faults, and healthy variants of the base, which expect no failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GRANTS = """
GRANT SELECT ON {0} TO items_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON {0} TO items_writer;
ALTER TABLE {0} OWNER TO items_owner;
"""
# The base's rows in a table of another shape.
FILL = "INSERT INTO {0} (id, label, embedding) SELECT id, label, embedding FROM public.items; ANALYZE {0};"
HNSW = "CREATE INDEX {1} ON {0} USING hnsw (embedding vector_cosine_ops);"
HERE = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {0}', current_database()); END $$;"
HERE_READER = (
    "SELECT '[1]'::vector; "
    "DO $$ BEGIN EXECUTE format('ALTER ROLE items_reader IN DATABASE %I {0}', current_database()); END $$;"
)
EF_100 = {"readerSettings": {"hnsw.ef_search": 100}}
PARTED = """
CREATE TABLE parted (id bigint PRIMARY KEY, label text, embedding vector(32) NOT NULL) PARTITION BY HASH (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""
PARTITIONED = PARTED + FILL.format("parted") + HNSW.format("parted", "parted_hnsw") + GRANTS.format("parted")
PARTED_CONTRACT = {
    "name": "public.parted",
    "indexes": [{"name": "parted_hnsw", "method": "hnsw", "parameters": {"m": 16}}],
}
# A row that the index of the ids does not have.
UNSEEN = """
UPDATE pg_index SET indisready = false WHERE indexrelid = 'items_pkey'::regclass;
INSERT INTO items (id, label, embedding) {0} FROM items WHERE id = 7;
UPDATE pg_index SET indisready = true WHERE indexrelid = 'items_pkey'::regclass
"""
WITHOUT_DIMENSIONS = "DROP INDEX items_embedding_hnsw; ALTER TABLE items ALTER embedding TYPE vector; ANALYZE items"
REWRITTEN = "; SELECT pg_stat_force_next_flush(); VACUUM (FULL, ANALYZE) items"
MISSING = (
    "ALTER TABLE items ALTER embedding DROP NOT NULL; UPDATE items SET embedding = NULL WHERE id % 20 = 0" + REWRITTEN
)
NORMALIZED = "UPDATE items SET embedding = l2_normalize(embedding)" + REWRITTEN
FRESH = """
ALTER TABLE items ADD embedded_at timestamptz DEFAULT now(), ADD updated_at timestamptz DEFAULT now(),
                  ADD model text DEFAULT 'small';
"""
FRESH_AND_MODEL = {
    "fresh": {"embedded": "embedded_at", "updated": "updated_at"},
    "model": {"name": "small", "column": "model"},
}
TOUCHED = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.label := 'touched'; RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch();
"""
ROWS = "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON items USING ({0}); "
WITHOUT_INDEX = "DROP INDEX items_embedding_hnsw; "
NEVER = "CREATE FUNCTION never() RETURNS bool LANGUAGE sql RETURN false; "
OF_A_DEFAULT = """
CREATE ROLE makers; CREATE FUNCTION label() RETURNS text LANGUAGE sql RETURN 'new';
ALTER FUNCTION label() OWNER TO makers;
ALTER TABLE items ALTER label SET DEFAULT label();
"""
BY_LABEL = (
    "CREATE TABLE by_label (id bigint, label text, embedding vector(32) NOT NULL, PRIMARY KEY (id, label)) "
    "PARTITION BY HASH (label); "
    "CREATE TABLE by_label_0 PARTITION OF by_label FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
    "CREATE TABLE by_label_1 PARTITION OF by_label FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
    + FILL.format("by_label")
    + HNSW.format("by_label", "by_label_hnsw")
    + GRANTS.format("by_label")
)
BY_LABEL_CONTRACT = {"name": "public.by_label", "indexes": [{"name": "by_label_hnsw", "method": "hnsw"}]}
SCHEMA_OF_A_PARTITION = (
    PARTITIONED + "CREATE SCHEMA inside AUTHORIZATION {0}; ALTER TABLE parted_0 SET SCHEMA inside; ANALYZE parted"
)
# Rows of one label in each cluster, so that an index scan gives one of them among its 40. The planner would read so
# small a table without the index.
RARE = (
    "UPDATE items SET label = CASE WHEN id / 50 % 100 = 0 THEN 'it''s rare' ELSE 'common' END" + REWRITTEN + "; "
) + HERE.format("SET enable_seqscan = off")
BY_LABELS = {"recall": {"k": 10, "minimum": 0.9, "filter": "label"}}
SHADOWS = "CREATE SCHEMA items_reader; GRANT USAGE ON SCHEMA items_reader TO items_reader; "
SHADOWING = """
CREATE FUNCTION items_reader.far(vector, float8[]) RETURNS float8 LANGUAGE sql RETURN 0;
CREATE OPERATOR items_reader.<=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = public.l1_distance);
"""
# Keys of an index other than the column, and what the contract has for them.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "a-cast": ("CAST(embedding AS halfvec(32)) halfvec_cosine_ops", {"as": "halfvec"}),
    "bits": ("CAST(binary_quantize(embedding) AS bit(32)) bit_hamming_ops", {"bits": True}),
}


def on(method: str, form: str) -> dict[str, Any]:
    """Return the entries of a contract with an index of this form."""
    index = {"name": "items_embedding_hnsw", "method": method, **FORMS[form][1]}
    return {"indexes": [index], "recall": {"k": 10, "minimum": 0.6}}


@dataclass(frozen=True)
class Fault:
    """SQL for a clone of the base, the differences of its contract, and the checks that must fail.

    ``undo`` restores the objects that the whole server shares.
    """

    name: str
    sql: str
    expect: tuple[str, ...] = ()
    table: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    undo: str = ""

    @property
    def is_about_recall(self) -> bool:
        """True if the fault needs as many queries as a real deployment gets."""
        return "recall" in self.expect or self.name.startswith(("recall", "ivfflat"))


OWN = [
    Fault(
        "reader-cannot-log-in", "ALTER ROLE items_reader NOLOGIN", ("connect",), undo="ALTER ROLE items_reader LOGIN"
    ),
    Fault(
        "password-expired",
        "ALTER ROLE items_writer VALID UNTIL '2001-01-01'",
        ("connect",),
        undo="ALTER ROLE items_writer VALID UNTIL 'infinity'",
    ),
    Fault(
        "no-connections-allowed",
        "ALTER ROLE items_writer CONNECTION LIMIT 0",
        ("connect",),
        undo="ALTER ROLE items_writer CONNECTION LIMIT -1",
    ),
    Fault("reader-is-not-there", "", ("connect",), contract={"roles": {"writer": "items_writer", "reader": "nobody"}}),
    Fault("database-takes-no-connections", HERE.format("CONNECTION LIMIT 0"), ("connect",)),
    Fault("extension-elsewhere", "CREATE SCHEMA ext; ALTER EXTENSION vector SET SCHEMA ext", ("extension",)),
    Fault(
        "extension-out-of-reach",
        "CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC; ALTER EXTENSION vector SET SCHEMA ext",
        ("extension",),
        contract={"extension": {"schema": "ext", "minimum": "0.8.4"}},
    ),
    Fault(
        "extension-in-reach-by-the-path",
        """
        CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC; ALTER EXTENSION vector SET SCHEMA ext;
        """
        + HERE.format("SET search_path = public, ext"),
        contract={"extension": {"schema": "ext", "minimum": "0.8.4"}},
    ),
    Fault("type-shadowed", SHADOWS + "CREATE DOMAIN items_reader.vector AS text", ("extension",)),
    Fault("type-shadowed-by-a-table", SHADOWS + "CREATE TABLE items_reader.vector (id int)", ("extension",)),
    Fault(
        "function-shadowed",
        SHADOWS + "CREATE FUNCTION items_reader.cosine_distance(vector, vector, int DEFAULT 0) RETURNS float8 "
        "LANGUAGE sql RETURN 0",
        ("extension",),
    ),
    Fault(
        "function-shadowed-before-the-catalog",
        SHADOWS
        + "CREATE FUNCTION items_reader.cosine_distance(vector, vector) RETURNS float8 LANGUAGE sql RETURN 0; "
        + HERE.format('SET search_path = "$user", pg_catalog, public'),
        ("extension",),
    ),
    Fault(
        "operator-shadowed-after-pgvector",
        SHADOWS + SHADOWING + HERE.format('SET search_path = public, "$user"'),
    ),
    Fault("operator-shadowed-out-of-reach", "CREATE SCHEMA items_reader;" + SHADOWING),
    Fault("operator-shadowed-for-another", "CREATE SCHEMA items_writer; " + SHADOWING.replace("_reader", "_writer")),
    Fault(
        "operator-of-other-types",
        SHADOWS
        + SHADOWING.replace(
            "RIGHTARG = vector, FUNCTION = public.l1_distance", "RIGHTARG = float8[], FUNCTION = items_reader.far"
        ),
    ),
    Fault("table-shadowed", SHADOWS + "CREATE TABLE items_reader.items (LIKE items)", ("table",)),
    Fault("table-shadowed-by-a-view-of-it", SHADOWS + "CREATE VIEW items_reader.items AS SELECT * FROM items"),
    Fault("table-of-the-name-in-a-schema-out-of-reach", "CREATE SCHEMA other; CREATE TABLE other.items (LIKE items)"),
    Fault("table-is-a-view", "ALTER TABLE items RENAME TO kept; CREATE VIEW items AS SELECT * FROM kept", ("table",)),
    Fault("table-is-unlogged", "ALTER TABLE items SET UNLOGGED", ("table",)),
    Fault("column-renamed", "ALTER TABLE items RENAME embedding TO vectors", ("column",)),
    Fault("dimensions-not-said", WITHOUT_DIMENSIONS, table={"indexes": None, "dimensions": None}),
    Fault("dimensions-not-said-but-declared", WITHOUT_DIMENSIONS, ("column",), table={"indexes": None}),
    Fault("ids-not-unique", "ALTER TABLE items DROP CONSTRAINT items_pkey", ("column",)),
    Fault("ids-twice-although-an-index-says-unique", UNSEEN.format("SELECT id, label, embedding"), ("column",)),
    Fault(
        "child-of-a-child",
        "CREATE TABLE items_old () INHERITS (items); CREATE TABLE items_older () INHERITS (items_old); "
        "ALTER TABLE items_old OWNER TO items_owner; ALTER TABLE items_older OWNER TO items_owner",
        ("table",),
    ),
    Fault(
        "child-on-another-server",
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere; "
        "CREATE FOREIGN TABLE items_old () INHERITS (items) SERVER nowhere",
        ("table",),
    ),
    Fault(
        "ids-twice-in-two-partitions",
        BY_LABEL + "UPDATE by_label SET id = 2 WHERE id = 1",
        ("column",),
        table=BY_LABEL_CONTRACT,
    ),
    Fault("ids-once-in-two-partitions", BY_LABEL, table=BY_LABEL_CONTRACT),
    Fault("table-is-itself-a-child", "CREATE TABLE labels (label text NOT NULL); ALTER TABLE items INHERIT labels"),
    Fault(
        "table-had-a-child",
        "CREATE TABLE items_old () INHERITS (items); ALTER TABLE items_old NO INHERIT items",
    ),
    Fault(
        "vectors-all-the-same",
        "UPDATE items SET embedding = (SELECT embedding FROM items WHERE id = 1); VACUUM ANALYZE items",
        ("vectors",),
    ),
    Fault("vectors-missing-as-declared", MISSING, table={"missing": 0.1}),
    Fault("vectors-missing-more-than-declared", MISSING, ("vectors",), table={"missing": 0.04}),
    Fault("vectors-not-normalized", "", ("vectors",), table={"normalized": True}),
    Fault("vectors-need-not-be-normalized", "", table={"normalized": False}),
    Fault("vectors-normalized", NORMALIZED, table={"normalized": True}),
    Fault(
        "vectors-normalized-but-one",
        NORMALIZED + "; UPDATE items SET embedding = array_fill(0.178, ARRAY[32])::vector WHERE id = 7",
        ("vectors",),
        table={"normalized": True},
    ),
    Fault(
        "vectors-normalized-in-half-precision",
        "CREATE TABLE halves AS SELECT id, label, l2_normalize(embedding)::halfvec(32) AS embedding FROM items; "
        "ALTER TABLE halves ADD PRIMARY KEY (id); ANALYZE halves;" + GRANTS.format("halves"),
        table={"name": "public.halves", "type": "halfvec", "normalized": True, "indexes": None, "recall": None},
    ),
    Fault("vectors-fresh", FRESH, table=FRESH_AND_MODEL),
    Fault(
        "vectors-fresh-with-a-trigger",
        FRESH + "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$; "
        "CREATE TRIGGER touched BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch(); "
        "UPDATE items SET label = 'new', embedding = embedding, embedded_at = now() WHERE id < 9",
        table=FRESH_AND_MODEL,
    ),
    Fault(
        "vectors-older-than-their-text",
        FRESH + "UPDATE items SET label = 'new', updated_at = now() + interval '1 ms' WHERE id = 7",
        ("vectors",),
        table=FRESH_AND_MODEL,
    ),
    Fault(
        "vectors-of-an-unknown-time",
        FRESH + "UPDATE items SET embedded_at = NULL WHERE id = 7",
        ("vectors",),
        table=FRESH_AND_MODEL,
    ),
    Fault(
        "vectors-of-another-model",
        FRESH + "UPDATE items SET model = 'large' WHERE id = 7",
        ("vectors",),
        table=FRESH_AND_MODEL,
    ),
    Fault(
        "vectors-of-no-model", FRESH + "UPDATE items SET model = NULL WHERE id = 7", ("vectors",), table=FRESH_AND_MODEL
    ),
    Fault("vectors-without-the-columns-of-the-keys", "", ("vectors",), table=FRESH_AND_MODEL),
    Fault("recall-within-labels", "", table=BY_LABELS),
    Fault("recall-within-rare-labels", RARE, ("recall",), table=BY_LABELS),
    Fault(
        "recall-within-rare-labels-by-an-iterative-scan",
        "SELECT '[1]'::vector;" + RARE + HERE.format("SET hnsw.iterative_scan = strict_order"),
        table=BY_LABELS,
    ),
    Fault(
        "recall-within-values-of-a-missing-column",
        "",
        ("recall",),
        table={"recall": {"k": 10, "minimum": 0.9, "filter": "tenant"}},
    ),
    Fault("published", "CREATE PUBLICATION answers FOR TABLE items"),
    Fault(
        "column-generated",
        "ALTER TABLE items ADD words tsvector GENERATED ALWAYS AS (to_tsvector('english', label)) STORED; "
        "ANALYZE items",
    ),
    Fault(
        "vectors-of-the-last-load-the-same",
        "UPDATE items SET embedding = array_fill(0.1, ARRAY[32])::vector WHERE id > 4400" + REWRITTEN,
        ("vectors",),
    ),
    Fault(
        "vectors-the-same-in-a-tenth",
        "UPDATE items SET embedding = array_fill(0.1, ARRAY[32])::vector WHERE id > 4500" + REWRITTEN,
    ),
    Fault(
        "vectors-of-a-padded-model",
        FRESH + "ALTER TABLE items ALTER model TYPE char(20); ANALYZE items",
        table=FRESH_AND_MODEL,
    ),
    Fault(
        "vectors-a-few-the-same",
        "UPDATE items SET embedding = array_fill(0.1, ARRAY[32])::vector WHERE id % 12 = 0; "
        "SELECT pg_stat_force_next_flush(); VACUUM (FULL, ANALYZE) items",
    ),
    Fault(
        "vectors-the-same-in-a-few-rows",
        "DELETE FROM items WHERE id > 12; UPDATE items SET embedding = (SELECT embedding FROM items WHERE id = 1) "
        "WHERE id < 7; SELECT pg_stat_force_next_flush(); VACUUM (FULL, ANALYZE) items",
        table={"rows": 12},
    ),
    Fault(
        "vectors-in-a-wrong-byte-order",
        "UPDATE items SET embedding = array_fill(1e30 * id, ARRAY[32])::vector; VACUUM ANALYZE items",
        ("vectors",),
    ),
    Fault(
        "vectors-of-another-width",
        "UPDATE items SET embedding = array_fill(3e-15, ARRAY[32])::vector WHERE id = 77",
        ("vectors",),
    ),
    Fault(
        "vectors-zero-under-l2",
        "UPDATE items SET embedding = array_fill(0, ARRAY[32])::vector WHERE id = 77; DROP INDEX items_embedding_hnsw; "
        "CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_l2_ops)",
        table={"metric": "l2"},
    ),
    Fault(
        "sequence-at-its-end",
        "ALTER SEQUENCE items_id_seq MAXVALUE 5000",
        ("sequence",),
    ),
    Fault("sequence-is-unlogged", "ALTER SEQUENCE items_id_seq SET UNLOGGED", ("sequence",)),
    Fault(
        "sequence-of-another-table",
        "CREATE SEQUENCE loose; GRANT USAGE ON loose TO items_writer; "
        "ALTER TABLE items ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('loose')",
        ("sequence",),
    ),
    Fault(
        "sequence-that-goes-down",
        "ALTER SEQUENCE items_id_seq INCREMENT BY -1 MINVALUE -1000; SELECT setval('items_id_seq', 1)",
    ),
    Fault("ids-from-elsewhere", "ALTER TABLE items ALTER id DROP IDENTITY"),
    Fault(
        "index-partial",
        "DROP INDEX items_embedding_hnsw; CREATE INDEX items_embedding_hnsw ON items "
        "USING hnsw (embedding vector_cosine_ops) WHERE id > 10",
        ("index",),
    ),
    Fault(
        "index-on-an-expression",
        "DROP INDEX items_embedding_hnsw; CREATE INDEX items_embedding_hnsw ON items "
        "USING hnsw ((embedding::halfvec(32)) halfvec_cosine_ops)",
        ("index",),
    ),
    *(
        Fault(
            f"index-on-{form}-by-{method}",
            f"DROP INDEX items_embedding_hnsw; CREATE INDEX items_embedding_hnsw ON items USING {method} ({key})",
            table=on(method, form),
        )
        for method in ("hnsw", "ivfflat")
        for form, (key, _) in FORMS.items()
    ),
    *(
        Fault(f"index-not-on-{form}-by-{method}", "", ("index",), table=on(method, form))
        for method in ("hnsw", "ivfflat")
        for form in FORMS
    ),
    Fault(
        "index-on-a-cast-of-another-metric",
        "DROP INDEX items_embedding_hnsw; "
        "CREATE INDEX items_embedding_hnsw ON items USING hnsw (CAST(embedding AS halfvec(32)) halfvec_l2_ops)",
        ("index",),
        table=on("hnsw", "a-cast"),
    ),
    Fault(
        "index-on-bits-by-jaccard",
        "DROP INDEX items_embedding_hnsw; CREATE INDEX items_embedding_hnsw ON items "
        "USING hnsw (CAST(binary_quantize(embedding) AS bit(32)) bit_jaccard_ops)",
        ("index",),
        table=on("hnsw", "bits"),
    ),
    Fault(
        "plan-of-a-cast-the-reader-has-a-setting",
        "ALTER ROLE items_reader SET enable_indexscan = off; DROP INDEX items_embedding_hnsw; "
        "CREATE INDEX items_embedding_hnsw ON items USING hnsw (CAST(embedding AS halfvec(32)) halfvec_cosine_ops)",
        ("plan",),
        table=on("hnsw", "a-cast"),
        undo="ALTER ROLE items_reader RESET enable_indexscan",
    ),
    Fault(
        "recall-of-bits-the-reader-searches-little",
        "ALTER ROLE items_reader SET hnsw.ef_search = 1; DROP INDEX items_embedding_hnsw; CREATE INDEX "
        "items_embedding_hnsw ON items USING hnsw (CAST(binary_quantize(embedding) AS bit(32)) bit_hamming_ops)",
        ("recall",),
        table=on("hnsw", "bits"),
        undo="ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault(
        "partitioned-on-a-cast",
        PARTED
        + FILL.format("parted")
        + GRANTS.format("parted")
        + "CREATE INDEX parted_hnsw ON parted USING hnsw (CAST(embedding AS halfvec(32)) halfvec_cosine_ops)",
        table={**PARTED_CONTRACT, "indexes": [{"name": "parted_hnsw", "method": "hnsw", "as": "halfvec"}]},
    ),
    Fault(
        "partitioned-not-on-bits",
        PARTITIONED,
        ("index",),
        table={**PARTED_CONTRACT, "indexes": [{"name": "parted_hnsw", "method": "hnsw", "bits": True}]},
    ),
    Fault(
        "index-of-another-table",
        "DROP INDEX items_embedding_hnsw; CREATE TABLE others (embedding vector(32)); "
        "CREATE INDEX items_embedding_hnsw ON others USING hnsw (embedding vector_cosine_ops)",
        ("index",),
    ),
    Fault(
        "index-in-another-schema",
        "DROP INDEX items_embedding_hnsw; CREATE SCHEMA other; CREATE TABLE other.items (embedding vector(32)); "
        "CREATE INDEX items_embedding_hnsw ON other.items USING hnsw (embedding vector_cosine_ops)",
        ("index",),
    ),
    Fault(
        "index-not-ready",
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'items_embedding_hnsw'::regclass",
        ("index",),
    ),
    Fault(
        "index-with-the-defaults",
        "DROP INDEX items_embedding_hnsw; "
        "CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_cosine_ops)",
    ),
    Fault(
        "plan-the-reader-has-a-setting",
        "ALTER ROLE items_reader SET enable_indexscan = off",
        ("plan",),
        undo="ALTER ROLE items_reader RESET enable_indexscan",
    ),
    Fault(
        "plan-costs",
        "ALTER ROLE items_reader SET random_page_cost = 1e6",
        ("plan",),
        undo="ALTER ROLE items_reader RESET random_page_cost",
    ),
    Fault(
        "plan-the-reader-prepares",
        "ALTER ROLE items_reader SET plan_cache_mode = force_generic_plan",
        undo="ALTER ROLE items_reader RESET plan_cache_mode",
    ),
    Fault(
        "recall-the-reader-searches-little",
        "ALTER ROLE items_reader SET hnsw.ef_search = 1",
        ("recall",),
        undo="ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault(
        "recall-the-database-is-overruled-by-the-reader",
        HERE.format("SET hnsw.ef_search = 1") + "ALTER ROLE items_reader SET hnsw.ef_search = 100",
        undo="ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault(
        "ivfflat-built-on-an-empty-table",
        "CREATE TABLE ivf (id bigint PRIMARY KEY, label text, embedding vector(32) NOT NULL); "
        "CREATE INDEX ivf_flat ON ivf USING ivfflat (embedding vector_cosine_ops) WITH (lists = 100);"
        + FILL.format("ivf")
        + GRANTS.format("ivf"),
        ("recall",),
        table={
            "name": "public.ivf",
            "indexes": [{"name": "ivf_flat", "method": "ivfflat", "parameters": {"lists": 100}}],
        },
    ),
    Fault(
        "ivfflat-built-after-the-load",
        "DROP INDEX items_embedding_hnsw; "
        "CREATE INDEX items_ivf ON items USING ivfflat (embedding vector_cosine_ops) WITH (lists = 10)",
        table={"indexes": [{"name": "items_ivf", "method": "ivfflat", "parameters": {"lists": 10}}]},
    ),
    Fault(
        "statistics-stale",
        "ALTER TABLE items SET (autovacuum_enabled = off); UPDATE items SET label = 'x' WHERE id % 2 = 0; "
        "SELECT pg_stat_force_next_flush()",
        ("statistics",),
    ),
    Fault(
        "statistics-not-wanted",
        "ALTER TABLE items ALTER embedding SET STATISTICS 0; "
        "DELETE FROM pg_statistic WHERE starelid = 'items'::regclass",
    ),
    Fault(
        "bloat-of-a-partition",
        PARTITIONED
        + "ALTER TABLE parted_0 SET (autovacuum_enabled = off); ALTER TABLE parted_1 SET (autovacuum_enabled = off);"
        + "UPDATE parted SET label = 'y';" * 3
        + "SELECT pg_stat_force_next_flush(); ANALYZE parted; ",
        ("bloat",),
        table=PARTED_CONTRACT,
    ),
    Fault(
        "partitioned",
        PARTITIONED,
        table=PARTED_CONTRACT,
    ),
    Fault(
        "partition-without-the-index",
        PARTED
        + FILL.format("parted")
        + GRANTS.format("parted")
        + "CREATE INDEX parted_hnsw ON ONLY parted USING hnsw (embedding vector_cosine_ops)",
        ("index",),
        table=PARTED_CONTRACT,
    ),
    Fault(
        "partition-unlogged",
        PARTITIONED + "ALTER TABLE parted_1 SET UNLOGGED",
        ("table",),
        table=PARTED_CONTRACT,
    ),
    Fault(
        "partition-never-analyzed",
        PARTITIONED + "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname = 'parted_1'",
        ("statistics",),
        table=PARTED_CONTRACT,
    ),
    Fault(
        "only-the-parent-never-analyzed",
        PARTITIONED + "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname = 'parted'",
        table=PARTED_CONTRACT,
    ),
    Fault(
        "reader-may-create-databases",
        "ALTER ROLE items_reader CREATEDB",
        ("roles",),
        undo="ALTER ROLE items_reader NOCREATEDB",
    ),
    Fault(
        "writer-skips-row-security",
        "ALTER ROLE items_writer BYPASSRLS",
        ("roles",),
        undo="ALTER ROLE items_writer NOBYPASSRLS",
    ),
    Fault(
        "writer-is-one-of-the-owners",
        "GRANT items_owner TO items_writer",
        ("roles",),
        undo="REVOKE items_owner FROM items_writer",
    ),
    Fault(
        "reader-can-become-the-writer",
        "GRANT items_writer TO items_reader WITH INHERIT FALSE",
        ("roles",),
        undo="REVOKE items_writer FROM items_reader",
    ),
    Fault(
        "reader-reads-everything",
        "GRANT pg_read_all_data TO items_reader",
        ("roles",),
        undo="REVOKE pg_read_all_data FROM items_reader",
    ),
    Fault("reader-watches", "GRANT pg_monitor TO items_reader", undo="REVOKE pg_monitor FROM items_reader"),
    Fault("reader-hands-on", "GRANT SELECT ON items TO items_reader WITH GRANT OPTION", ("roles",)),
    Fault("reader-updates-a-column", "GRANT UPDATE (label) ON items TO items_reader", ("roles",)),
    Fault("writer-truncates", "GRANT TRUNCATE ON items TO items_writer", ("roles",)),
    Fault("everybody-creates-in-the-schema", "GRANT CREATE ON SCHEMA public TO PUBLIC", ("roles",)),
    Fault(
        "reader-not-let-into-the-schema",
        "REVOKE USAGE ON SCHEMA public FROM items_reader, PUBLIC",
        ("extension", "roles"),
    ),
    Fault("writer-cannot-delete", "REVOKE DELETE ON items FROM items_writer", ("roles",)),
    Fault(
        "writer-reads-only",
        "ALTER ROLE items_writer SET default_transaction_read_only = on",
        ("roles",),
        undo="ALTER ROLE items_writer RESET default_transaction_read_only",
    ),
    Fault(
        "writer-without-the-sequence",
        "CREATE SEQUENCE own; SELECT setval('own', 5000); "
        "ALTER TABLE items ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('own')",
        ("roles",),
    ),
    Fault("row-security-shows-nothing", "ALTER TABLE items ENABLE ROW LEVEL SECURITY", ("roles",)),
    Fault(
        "row-security-with-policies",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY everything ON items USING (true)",
    ),
    Fault(
        "rights-on-columns",
        "REVOKE ALL ON items FROM items_reader; GRANT SELECT (id, embedding) ON items TO items_reader",
    ),
    Fault(
        "rights-by-a-group",
        "CREATE ROLE readers; REVOKE ALL ON items FROM items_reader; GRANT SELECT ON items TO readers; "
        "GRANT USAGE ON SCHEMA public TO readers; GRANT readers TO items_reader",
        undo="DROP OWNED BY readers; DROP ROLE readers",
    ),
    Fault(
        "names-in-quotes",
        """
        CREATE SCHEMA "my schema"; GRANT USAGE ON SCHEMA "my schema" TO items_reader, items_writer;
        ALTER TABLE items SET SCHEMA "my schema"; ALTER TABLE "my schema".items RENAME TO "It's ""50 %"" é :name";
        ALTER TABLE "my schema"."It's ""50 %"" é :name" RENAME embedding TO "Em bed%s";
        ALTER TABLE "my schema"."It's ""50 %"" é :name" RENAME id TO "The ID";
        ALTER INDEX "my schema".items_embedding_hnsw RENAME TO "An index"
        """,
        table={
            "name": '"my schema"."It\'s ""50 %"" é :name"',
            "vector": "Em bed%s",
            "id": "The ID",
            "indexes": [{"name": "An index", "method": "hnsw", "parameters": {"m": 16, "ef_construction": 64}}],
        },
    ),
    Fault(
        "extension-in-reach-of-the-one-who-checks-only",
        "CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC; ALTER EXTENSION vector SET SCHEMA ext; "
        "DO $$ BEGIN EXECUTE format('ALTER ROLE postgres IN DATABASE %I SET search_path = public, ext', "
        "current_database()); END $$",
        ("extension",),
        contract={"extension": {"schema": "ext", "minimum": "0.8.4"}},
    ),
    Fault(
        "extension-out-of-reach-of-the-one-who-checks-only",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE postgres IN DATABASE %I SET search_path = nowhere', "
        "current_database()); END $$",
    ),
    Fault("column-dropped", "ALTER TABLE items DROP embedding", ("column",)),
    Fault("column-with-a-default", "ALTER TABLE items ADD tenant int DEFAULT 1"),
    Fault(
        "ids-larger-than-their-type",
        "ALTER TABLE items ALTER id DROP IDENTITY; ALTER TABLE items ALTER id TYPE int; CREATE SEQUENCE wide; "
        "GRANT USAGE ON wide TO items_writer; ALTER TABLE items ALTER id SET DEFAULT nextval('wide'); "
        "SELECT setval('wide', 2147483647)",
        ("sequence",),
    ),
    Fault(
        "sequence-that-begins-again",
        "ALTER SEQUENCE items_id_seq CYCLE MAXVALUE 5000; SELECT setval('items_id_seq', 5000)",
        ("sequence",),
    ),
    Fault(
        "ids-computed",
        "ALTER TABLE items ALTER id DROP IDENTITY; CREATE SEQUENCE part; GRANT USAGE ON part TO items_writer; "
        "ALTER TABLE items ALTER id SET DEFAULT nextval('part') * 100000",
    ),
    Fault(
        "plan-more-work-by-the-index",
        "ALTER ROLE items_reader SET hnsw.ef_search = 1000",
        undo="ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault(
        "recall-of-the-nearest-alone",
        "ALTER ROLE items_reader SET hnsw.ef_search = 1",
        ("recall",),
        table={"recall": {"k": 1, "minimum": 0.95}},
        undo="ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault("recall-of-the-nearest", "", table={"recall": {"k": 1, "minimum": 0.95}}),
    Fault(
        "bloat-that-was-cleaned-up", "DELETE FROM items WHERE id <= 3000; VACUUM ANALYZE items", table={"rows": 2000}
    ),
    Fault(
        "writer-reads-only-in-other-words",
        "ALTER ROLE items_writer SET default_transaction_read_only = t",
        ("roles",),
        undo="ALTER ROLE items_writer RESET default_transaction_read_only",
    ),
    Fault(
        "writer-owns-a-partition",
        PARTITIONED + "ALTER TABLE parted_0 OWNER TO items_writer",
        ("roles",),
        table=PARTED_CONTRACT,
    ),
    Fault(
        "reader-owns-the-schema-of-a-partition",
        SCHEMA_OF_A_PARTITION.format("items_reader"),
        ("roles",),
        table=PARTED_CONTRACT,
    ),
    Fault("partition-in-a-closed-schema", SCHEMA_OF_A_PARTITION.format("items_owner"), table=PARTED_CONTRACT),
    Fault(
        "reader-owns-the-sequence-behind-a-default",
        "CREATE SEQUENCE own; SELECT setval('own', 5000); GRANT USAGE ON own TO items_writer; "
        "ALTER TABLE items ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('own'); "
        "ALTER SEQUENCE own OWNER TO items_reader",
        ("roles",),
    ),
    Fault(
        "writer-owns-the-index",
        "UPDATE pg_class SET relowner = 'items_writer'::regrole WHERE relname = 'items_embedding_hnsw'",
        ("roles",),
    ),
    Fault(
        "writer-owns-the-function-of-the-operator",
        "ALTER FUNCTION cosine_distance(vector, vector) OWNER TO items_writer",
        ("roles",),
    ),
    Fault("reader-owns-the-type", "ALTER TYPE vector OWNER TO items_reader", ("roles",)),
    Fault(
        "reader-may-alter-the-server",
        "GRANT ALTER SYSTEM ON PARAMETER enable_indexscan TO items_reader",
        ("roles",),
        undo="REVOKE ALTER SYSTEM ON PARAMETER enable_indexscan FROM items_reader",
    ),
    Fault(
        "everybody-may-alter-the-server",
        "GRANT ALTER SYSTEM ON PARAMETER session_preload_libraries TO PUBLIC",
        ("roles",),
        undo="REVOKE ALTER SYSTEM ON PARAMETER session_preload_libraries FROM PUBLIC",
    ),
    Fault(
        "reader-may-set-a-parameter",
        "GRANT SET ON PARAMETER log_min_duration_statement TO items_reader",
        undo="REVOKE SET ON PARAMETER log_min_duration_statement FROM items_reader",
    ),
    Fault(
        "reader-becomes-another-by-a-setting",
        "CREATE ROLE readers; GRANT SELECT ON items TO readers; GRANT USAGE ON SCHEMA public TO readers; "
        "GRANT readers TO items_reader; ALTER ROLE items_reader SET role = readers",
        ("roles",),
        undo="ALTER ROLE items_reader RESET role; DROP OWNED BY readers; DROP ROLE readers",
    ),
    Fault(
        "everybody-becomes-the-owner-in-this-database",
        HERE.format("SET session_authorization = items_owner"),
        ("roles",),
    ),
    Fault(
        "reader-is-itself-by-a-setting",
        "ALTER ROLE items_reader SET role = items_reader",
        undo="ALTER ROLE items_reader RESET role",
    ),
    Fault(
        "rights-by-groups-three-deep",
        "CREATE ROLE inner_group; CREATE ROLE middle_group; CREATE ROLE outer_group; "
        "GRANT inner_group TO middle_group; GRANT middle_group TO outer_group; GRANT outer_group TO items_reader; "
        "REVOKE ALL ON items FROM items_reader; GRANT SELECT ON items TO inner_group",
        undo="DROP OWNED BY inner_group; DROP ROLE inner_group, middle_group, outer_group",
    ),
    Fault(
        "ownership-by-groups-three-deep",
        "CREATE ROLE inner_group; CREATE ROLE middle_group; CREATE ROLE outer_group; "
        "GRANT inner_group TO middle_group; GRANT middle_group TO outer_group; GRANT outer_group TO items_reader; "
        "GRANT CREATE ON SCHEMA public TO inner_group",
        ("roles",),
        undo="DROP OWNED BY inner_group; DROP ROLE inner_group, middle_group, outer_group",
    ),
    Fault("reader-owns-the-database", HERE.format("OWNER TO items_reader"), ("roles",)),
    Fault(
        "reader-owns-the-operator-class",
        "ALTER OPERATOR CLASS vector_cosine_ops USING hnsw OWNER TO items_reader",
        ("roles",),
    ),
    Fault(
        "writer-owns-the-function-of-a-trigger",
        TOUCHED + "ALTER FUNCTION touch() OWNER TO items_writer",
        ("roles",),
    ),
    Fault("owner-owns-the-function-of-a-trigger", TOUCHED + "ALTER FUNCTION touch() OWNER TO items_owner"),
    Fault(
        "writer-may-become-the-owner-of-the-function-of-a-default",
        OF_A_DEFAULT + "GRANT makers TO items_writer WITH INHERIT FALSE, SET TRUE",
        ("roles",),
        undo="DROP OWNED BY makers CASCADE; DROP ROLE makers",
    ),
    Fault(
        "writer-is-only-named-among-the-owners-of-a-function",
        OF_A_DEFAULT + "GRANT makers TO items_writer WITH INHERIT FALSE, SET FALSE",
        undo="DROP OWNED BY makers CASCADE; DROP ROLE makers",
    ),
    Fault(
        "writer-may-alter-the-server-as-a-member",
        "CREATE ROLE tuners; GRANT ALTER SYSTEM ON PARAMETER work_mem TO tuners; GRANT tuners TO items_writer",
        ("roles",),
        undo="DROP OWNED BY tuners; DROP ROLE tuners",
    ),
    Fault(
        "others-may-alter-the-server",
        "CREATE ROLE tuners; GRANT ALTER SYSTEM ON PARAMETER work_mem TO tuners",
        undo="DROP OWNED BY tuners; DROP ROLE tuners",
    ),
    Fault(
        "writer-becomes-the-owner-in-this-database",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE items_writer IN DATABASE %I SET role = items_owner', "
        "current_database()); END $$",
        ("roles",),
    ),
    Fault(
        "writer-becomes-the-owner-in-another-database",
        "ALTER ROLE items_writer IN DATABASE postgres SET role = items_owner",
        undo="ALTER ROLE items_writer IN DATABASE postgres RESET role",
    ),
    Fault("reader-moves-the-sequence", "GRANT UPDATE ON SEQUENCE items_id_seq TO items_reader", ("roles",)),
    Fault("reader-sees-the-sequence", "GRANT SELECT ON SEQUENCE items_id_seq TO items_reader"),
    Fault("reader-hands-on-a-column", "GRANT SELECT (id) ON items TO items_reader WITH GRANT OPTION", ("roles",)),
    Fault(
        "membership-that-gives-nothing",
        "GRANT items_owner TO items_reader WITH INHERIT FALSE, SET FALSE, ADMIN FALSE",
        undo="REVOKE items_owner FROM items_reader",
    ),
    Fault(
        "row-security-that-permits-nothing",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY nothing ON items USING (false)",
        ("roles",),
    ),
    Fault(
        "row-security-that-forbids-everything",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY everything ON items USING (true); "
        "CREATE POLICY nothing ON items AS RESTRICTIVE USING (false)",
        ("roles",),
    ),
    Fault(
        "row-security-by-tenant",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY tenants ON items USING (label = current_setting('app.tenant'))",
    ),
    Fault("policy-that-is-never-true", ROWS.format("NULL"), ("roles",)),
    Fault("policy-that-compares-constants", ROWS.format("length('a') > 1 AND NOT 2 = ANY (ARRAY[1])"), ("roles",)),
    Fault("policy-that-is-always-true", ROWS.format("1 = 1")),
    Fault("policies-of-which-one-is-true", ROWS.format("1 = 0") + "CREATE POLICY all_of_them ON items USING (true)"),
    Fault(
        "policy-of-another-role-is-true",
        ROWS.format("1 = 0") + "CREATE POLICY writers ON items TO items_writer USING (true)",
        ("roles",),
    ),
    Fault(
        "policy-that-restricts-by-constants",
        ROWS.format("true") + "CREATE POLICY closed ON items AS RESTRICTIVE FOR SELECT USING (1 > 2)",
        ("roles",),
    ),
    Fault(
        "policy-that-restricts-nothing",
        ROWS.format("true") + "CREATE POLICY open ON items AS RESTRICTIVE USING (2 > 1)",
    ),
    Fault(
        "policy-that-lets-nothing-in", ROWS.format("true") + "ALTER POLICY p ON items WITH CHECK (1 = 0)", ("roles",)
    ),
    Fault("policy-for-the-owner", ROWS.format("1 = 0") + "ALTER POLICY p ON items TO items_owner", ("roles",)),
    Fault("policy-by-a-function", NEVER + ROWS.format("never()")),
    Fault("policy-by-a-setting", ROWS.format("current_setting('app.reads', true) = 'on'")),
    Fault("policy-by-a-role", ROWS.format("current_user = 'items_reader' OR current_user = 'items_writer'")),
    Fault("policy-by-another-table", ROWS.format("EXISTS (SELECT FROM pg_class WHERE relname = 'open')")),
    Fault("policy-that-cannot-be-computed", ROWS.format("1 / 0 = 1")),
    Fault(
        "row-security-switched-off-for-the-reader",
        ROWS.format("true") + HERE_READER.format("SET row_security = off"),
        ("roles",),
    ),
    Fault("row-security-switched-off-without-any", HERE_READER.format("SET row_security = off")),
    Fault(
        "timeout-that-the-query-cannot-meet",
        HERE_READER.format("SET statement_timeout = ''1ms''") + WITHOUT_INDEX,
        ("roles",),
        table={"recall": {"k": 2000, "minimum": 0.5}, "indexes": None},
    ),
    Fault("timeout-that-the-query-meets", HERE_READER.format("SET statement_timeout = ''10s''")),
    Fault("policy-without-row-security", "CREATE POLICY p ON items USING (1 = 0)"),
    Fault("rule-that-also-does-something", "CREATE RULE log AS ON DELETE TO items DO ALSO NOTIFY gone", ("roles",)),
    Fault(
        "rule-that-replaces-some-updates",
        "CREATE RULE keep AS ON UPDATE TO items WHERE OLD.id < 10 DO INSTEAD NOTHING",
        ("roles",),
    ),
    Fault(
        "rule-that-is-disabled",
        "CREATE RULE swallow AS ON INSERT TO items DO INSTEAD NOTHING; ALTER TABLE items DISABLE RULE swallow",
    ),
    Fault(
        "rule-on-a-partition",
        PARTITIONED + "CREATE RULE swallow AS ON INSERT TO parted_0 DO INSTEAD NOTHING",
        table=PARTED_CONTRACT,
    ),
    Fault("trigger-that-touches", TOUCHED),
    Fault("setting-missing", "", ("roles",), contract=EF_100),
    Fault("setting-of-another-value", HERE_READER.format("SET hnsw.ef_search = 50"), ("roles",), contract=EF_100),
    Fault("setting-as-declared", HERE_READER.format("SET hnsw.ef_search = 100"), contract=EF_100),
    Fault(
        "setting-in-another-unit",
        HERE_READER.format("SET work_mem = ''65536kB''"),
        contract={"readerSettings": {"work_mem": "64MB"}},
    ),
    Fault(
        "setting-of-the-role-everywhere",
        "SELECT '[1]'::vector; ALTER ROLE items_reader SET hnsw.ef_search = 100",
        contract=EF_100,
        undo="SELECT '[1]'::vector; ALTER ROLE items_reader RESET hnsw.ef_search",
    ),
    Fault(
        "setting-of-the-database-without-roles",
        "SELECT '[1]'::vector; " + HERE.format("SET hnsw.ef_search = 100"),
        contract={**EF_100, "roles": {}},
    ),
    Fault(
        "setting-missing-without-roles",
        HERE_READER.format("SET hnsw.ef_search = 100"),
        ("roles",),
        contract={**EF_100, "roles": {}},
    ),
    Fault(
        "setting-of-the-database-that-the-readers-overrides",
        HERE_READER.format("SET jit = on") + HERE.format("SET jit = off"),
        ("roles",),
        contract={"readerSettings": {"jit": False}},
    ),
]

# Faults whose printed remedy is SQL that fixes them.
FIXED_BY_REMEDY = {
    "bloat-of-a-partition",
    "database-takes-no-connections",
    "everybody-creates-in-the-schema",
    "extension-elsewhere",
    "extension-in-reach-of-the-one-who-checks-only",
    "extension-out-of-reach",
    "function-shadowed",
    "ids-not-unique",
    "index-in-another-schema",
    "index-not-on-a-cast-by-hnsw",
    "index-not-on-a-cast-by-ivfflat",
    "index-not-on-bits-by-hnsw",
    "index-not-on-bits-by-ivfflat",
    "index-not-ready",
    "index-of-another-table",
    "index-on-a-cast-of-another-metric",
    "index-on-an-expression",
    "index-on-bits-by-jaccard",
    "index-partial",
    "no-connections-allowed",
    "partition-never-analyzed",
    "partition-unlogged",
    "reader-can-become-the-writer",
    "reader-cannot-log-in",
    "reader-hands-on",
    "reader-hands-on-a-column",
    "reader-may-create-databases",
    "reader-moves-the-sequence",
    "child-on-another-server",
    "reader-owns-the-database",
    "reader-owns-the-operator-class",
    "writer-becomes-the-owner-in-this-database",
    "writer-may-alter-the-server-as-a-member",
    "writer-may-become-the-owner-of-the-function-of-a-default",
    "writer-owns-the-function-of-a-trigger",
    "reader-becomes-another-by-a-setting",
    "reader-may-alter-the-server",
    "reader-owns-the-schema-of-a-partition",
    "reader-owns-the-sequence-behind-a-default",
    "reader-owns-the-type",
    "everybody-becomes-the-owner-in-this-database",
    "everybody-may-alter-the-server",
    "ownership-by-groups-three-deep",
    "writer-owns-the-function-of-the-operator",
    "reader-not-let-into-the-schema",
    "reader-reads-everything",
    "reader-updates-a-column",
    "child-of-a-child",
    "row-security-switched-off-for-the-reader",
    "rule-that-also-does-something",
    "rule-that-replaces-some-updates",
    "sequence-at-its-end",
    "sequence-is-unlogged",
    "sequence-of-another-table",
    "sequence-that-begins-again",
    "setting-missing",
    "setting-missing-without-roles",
    "setting-of-another-value",
    "setting-of-the-database-that-the-readers-overrides",
    "statistics-stale",
    "table-is-unlogged",
    "timeout-that-the-query-cannot-meet",
    "type-shadowed",
    "writer-cannot-delete",
    "writer-is-one-of-the-owners",
    "writer-reads-only",
    "writer-skips-row-security",
    "writer-truncates",
    "writer-without-the-sequence",
}
