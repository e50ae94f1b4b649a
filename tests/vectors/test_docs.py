"""The SQL of docs/indexes.md, on a server.

The page's command lines are not run here.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import yaml

from local.server import Server
from local.workspace import ROOT
from pgvector_seed.infra.config import parse
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.metrics import OPERATORS
from tests.conftest import DISKANN, TEMPLATE, ask, conninfo

PAGE = (ROOT / "docs" / "indexes.md").read_text(encoding="utf-8")
SQL = {
    title: textwrap.dedent(block) for title, block in re.findall(r"<!-- sql: (\w+) -->\n *```sql\n(.*?)```", PAGE, re.S)
}
DIMENSIONS = 64
ROWS = 4000
# Vectors around 20 centers, with values of both signs, as a model's are.
VECTORS = """
SELECT i AS id, i % 10 AS tenant, v.embedding FROM generate_series(1, {rows}) i CROSS JOIN LATERAL (
    SELECT array_agg(sin((i % 20) * 7 + d * d) + 0.6 * sin(i * 13 + d * 31 + i * d))::vector({dimensions}) AS embedding
    FROM generate_series(1, {dimensions}) d) v
"""


@pytest.fixture(scope="module")
def filled() -> dict[int, str]:
    """Return the templates with a filled table that were made so far, by major version."""
    return {}


@pytest.fixture
def documents(
    server: Server, filled: dict[int, str], new_database: Callable[..., str]
) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to a database with the page's table, which has 4,000 rows of 10 tenants."""
    name = "indexes_page"
    if server.major not in filled:
        ask(conninfo(server, "postgres"), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        made = conninfo(server, name)
        ask(made, f"CREATE TABLE documents AS {VECTORS.format(rows=ROWS, dimensions=DIMENSIONS)}")
        ask(made, "ALTER TABLE documents ADD PRIMARY KEY (id)")
        ask(made, "ANALYZE documents")
        filled[server.major] = name
    with connect(new_database(name)) as connection:
        yield connection


def typed(connection: psycopg.Connection[Any], statement: str, query: str) -> list[Any]:
    """Run a statement of the page with the vector for $1."""
    return connection.execute(statement.replace("$1", f"'{query}'").encode()).fetchall()


def vector(connection: psycopg.Connection[Any], id_: int = 7, table: str = "documents") -> str:
    row = connection.execute(f"SELECT embedding::text FROM {table} WHERE id = {id_}".encode()).fetchone()
    assert row is not None
    return str(row[0])


def explain(connection: psycopg.Connection[Any], statement: str, query: str) -> str:
    return "\n".join(line for (line,) in typed(connection, f"EXPLAIN {statement.removeprefix('EXPLAIN ')}", query))


def build(connection: psycopg.Connection[Any], key: str, name: str = "i", table: str = "documents") -> None:
    connection.execute(f"CREATE INDEX {name} ON {table} USING hnsw ({key})".encode())


def test_all_blocks_are_tested() -> None:
    """A block of SQL that is added to the page gets a test."""
    assert len(SQL) == PAGE.count("```sql")
    assert SQL.keys() == {
        *("memory", "halfvec", "bits", "tenant", "partitions", "partial", "add", "drop", "classes", "explain")
    }


def test_the_declarations_are_valid_yaml_and_its_settings_are_accepted() -> None:
    blocks = [yaml.safe_load(textwrap.dedent(block)) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
    assert [list(block) for block in blocks] == [["config"], ["documents"], ["index"], ["index"]]
    settings = blocks[0]["config"]["pgvector-seed:readerSettings"]
    assert parse({"readerSettings": json.dumps(settings)}).reader_settings == settings
    assert blocks[3]["index"]["options"] == "[build.internal]\nlists = [1000]\n"
    names = set(re.findall(r"(?:hnsw|ivfflat|diskann|vchordrq)\.\w+", PAGE))
    assert len(names) == 9
    parse({"readerSettings": json.dumps(dict.fromkeys(names, 1))})


def test_the_settings_of_pgvector_exist(documents: psycopg.Connection[Any]) -> None:
    """Every setting of pgvector that the page names is one, with the defaults that the page has."""
    documents.execute("SELECT '[1]'::vector")
    defaults = dict(documents.execute("SELECT name, boot_val FROM pg_settings WHERE name LIKE '%.%'").fetchall())
    assert set(re.findall(r"(?:hnsw|ivfflat)\.\w+", PAGE)) <= defaults.keys()
    assert (defaults["hnsw.ef_search"], defaults["hnsw.max_scan_tuples"]) == ("40", "20000")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        documents.execute("SET ivfflat.iterative_scan = strict_order")
    documents.execute("SET ivfflat.iterative_scan = relaxed_order")


def test_the_table_of_the_memory_is_the_estimate() -> None:
    bytes_ = {"`vector`": 4.0, "`as: halfvec`": 2.0, "`bits: true`": 1 / 8}
    for kind, size in bytes_.items():
        cells = re.search(rf"^\| {re.escape(kind)} \| (.*) \|$", PAGE, re.M)
        assert cells is not None
        for dimensions, cell in zip((768, 1536, 3072), cells[1].split(" | "), strict=True):
            if cell != "no index":
                assert cell == f"{1e6 * (size * dimensions + 8 + 210 + 32 * 16) * 1.2 / 1e9:.1f} GB"


def test_the_estimate_is_enough_and_a_little_memory_is_told(documents: psycopg.Connection[Any]) -> None:
    """The graph fits into the estimate, and the server's notice has the words of the page."""
    notices: list[str] = []
    documents.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
    estimate = int(ROWS * (4 * DIMENSIONS + 8 + 210 + 32 * 16) * 1.2)
    assert documents.execute(SQL["memory"].encode()).fetchall() == [(f"{round(estimate / 1024)} kB",)]
    documents.execute(f"SET max_parallel_maintenance_workers = 0; SET maintenance_work_mem = '{estimate // 1024}kB'")
    build(documents, "embedding vector_cosine_ops", "fits")
    assert notices == []
    documents.execute("SET maintenance_work_mem = '1MB'")
    build(documents, "embedding vector_cosine_ops", "too_large")
    assert any("hnsw graph no longer fits into maintenance_work_mem" in notice for notice in notices)
    assert "hnsw graph no longer fits into maintenance_work_mem" in PAGE.replace("\n", " ")


def test_an_l2_index_never_serves_a_cosine_query(documents: psycopg.Connection[Any]) -> None:
    build(documents, "embedding vector_l2_ops", "for_l2")
    query = vector(documents)
    assert "Seq Scan" in explain(documents, SQL["explain"], query)
    documents.execute("SET enable_seqscan = off")
    assert "for_l2" not in explain(documents, SQL["explain"], query)
    build(documents, "embedding vector_cosine_ops", "for_cosine")
    documents.execute("RESET enable_seqscan")
    assert "Index Scan using for_cosine" in explain(documents, SQL["explain"], query)


@pytest.mark.parametrize(("type_", "most"), [("vector", 2000), ("halfvec", 4000), ("bit", 64000)])
def test_the_most_dimensions(documents: psycopg.Connection[Any], type_: str, most: int) -> None:
    metric = "hamming" if type_ == "bit" else "l2"
    documents.execute(f"CREATE TABLE most (v {type_}({most})); CREATE TABLE more (v {type_}({most + 1}))".encode())
    build(documents, f"v {type_}_{metric}_ops", table="most")
    with pytest.raises(psycopg.Error, match=f"cannot have more than {most} dimensions"):
        build(documents, f"v {type_}_{metric}_ops", name="j", table="more")
    assert f"{most:,}" in PAGE


def test_a_cast_to_halfvec_serves_a_query_with_the_cast(documents: psycopg.Connection[Any]) -> None:
    documents.execute(f"CREATE TABLE pages AS {VECTORS.format(rows=60, dimensions=3072)}".encode())
    build(documents, "CAST(embedding AS halfvec(3072)) halfvec_cosine_ops", "halved", "pages")
    documents.execute("SET enable_seqscan = off")
    query = vector(documents, table="pages")
    assert "Index Scan using halved" in explain(documents, SQL["halfvec"], query)
    assert typed(documents, SQL["halfvec"], query)[0] == (7,)
    assert "halved" not in explain(documents, "SELECT id FROM pages ORDER BY embedding <=> $1 LIMIT 10", query)


def test_bits_find_candidates_that_the_full_vectors_rank(documents: psycopg.Connection[Any]) -> None:
    build(documents, f"CAST(binary_quantize(embedding) AS bit({DIMENSIONS})) bit_hamming_ops", "signs")
    query = vector(documents)
    nearest = "SELECT id FROM documents ORDER BY embedding <=> $1 LIMIT 10"
    exact = typed(documents, nearest, query)
    documents.execute("SET hnsw.ef_search = 100")
    assert "Index Scan using signs" in explain(documents, SQL["bits"], query)
    approximate = typed(documents, SQL["bits"], query)
    assert len(approximate) == 10
    assert approximate[0] == (7,)
    assert len({*exact} & {*approximate}) >= 7
    candidates = SQL["bits"].replace("LIMIT 10;", "LIMIT 1000;")
    assert len(typed(documents, candidates, query)) == 100
    build(documents, "embedding vector_cosine_ops", "whole")
    documents.execute("SET enable_seqscan = off; SET hnsw.ef_search = 40")
    rows = typed(documents, "SELECT id FROM documents ORDER BY embedding <=> $1 LIMIT 1000", query)
    assert len(rows) == 40, "HNSW returns no more than ef_search rows"


TENANT = "SELECT id FROM documents WHERE tenant = 1 ORDER BY embedding <=> $1 LIMIT 10"


def test_an_iterative_scan_finds_enough_rows_of_a_tenant(documents: psycopg.Connection[Any]) -> None:
    build(documents, "embedding vector_cosine_ops")
    documents.execute("SET enable_seqscan = off; SET enable_sort = off")
    query = vector(documents)
    few = typed(documents, TENANT, query)
    assert len(few) < 10
    documents.execute("SET hnsw.iterative_scan = strict_order")
    assert len(typed(documents, TENANT, query)) == 10


def test_an_index_on_the_tenant_makes_a_rare_one_exact(documents: psycopg.Connection[Any]) -> None:
    build(documents, "embedding vector_cosine_ops", "approximate")
    documents.execute("UPDATE documents SET tenant = 99 WHERE id <= 12")
    documents.execute(SQL["tenant"].encode())
    documents.execute("ANALYZE documents")
    rare = TENANT.replace("tenant = 1", "tenant = 99")
    query = vector(documents)
    assert "documents_tenant" in explain(documents, rare, query)
    assert len(typed(documents, rare, query)) == 10


def test_a_partition_answers_for_its_tenant(documents: psycopg.Connection[Any]) -> None:
    documents.execute(SQL["partitions"].encode())
    documents.execute("INSERT INTO notes SELECT tenant, id, embedding FROM documents")
    build(documents, "embedding vector_cosine_ops", "on_notes", "notes")
    documents.execute("ANALYZE notes; SET enable_seqscan = off; SET enable_sort = off")
    plan = explain(documents, TENANT.replace("documents", "notes"), vector(documents))
    assert "notes_1_embedding_idx" in plan
    assert "notes_others" not in plan


def test_a_partial_index_serves_its_condition_alone(documents: psycopg.Connection[Any]) -> None:
    documents.execute(SQL["partial"].encode())
    documents.execute("SET enable_seqscan = off")
    query = vector(documents)
    assert "documents_tenant_1" in explain(documents, TENANT, query)
    assert len(typed(documents, TENANT, query)) == 10
    assert "documents_tenant_1" not in explain(documents, TENANT.replace("tenant = 1", "tenant = 2"), query)
    documents.execute("SET plan_cache_mode = force_generic_plan")
    documents.execute(
        f"PREPARE p (int) AS {TENANT.replace('= 1', '= $1').replace('<=> $1', f'<=> {query!r}')}".encode()
    )
    plan = documents.execute("EXPLAIN EXECUTE p (1)").fetchall()
    assert "documents_tenant_1" not in str(plan)


def test_a_second_column_for_a_new_model(documents: psycopg.Connection[Any]) -> None:
    """The column is added without a rewrite, and the old one takes its index along."""
    build(documents, "embedding vector_cosine_ops", "documents_embedding_hnsw")
    file = documents.execute("SELECT pg_relation_filenode('documents')").fetchone()
    documents.execute(SQL["add"].encode())
    assert documents.execute("SELECT pg_relation_filenode('documents')").fetchone() == file
    documents.execute(SQL["drop"].encode())
    assert documents.execute("SELECT to_regclass('documents_embedding_hnsw')").fetchone() == (None,)


def test_the_classes_in_the_catalog_are_those_of_the_page(documents: psycopg.Connection[Any]) -> None:
    """Also another extension's access method is found, here one with pgvector's code."""
    before = documents.execute(SQL["classes"].encode()).fetchall()
    for metric in ("l2", "ip", "cosine", "l1"):
        methods = {method for method, class_, operator in before if (class_, operator) == _class_of(metric)}
        assert methods == ({"hnsw"} if metric == "l1" else {"hnsw", "ivfflat"})
        assert re.search(rf"^\| `{metric}` \| `{re.escape(OPERATORS[metric])}` \| `vector_{metric}_ops`", PAGE, re.M)
    documents.execute(DISKANN.encode())
    after = documents.execute(SQL["classes"].encode()).fetchall()
    assert {*after} - {*before} == {("diskann", "vector_cosine_ops", "<=>")}
    documents.execute("CREATE INDEX d ON documents USING diskann (embedding vector_cosine_ops)")
    assert "Index Scan using d" in explain(documents, SQL["explain"], vector(documents))


def _class_of(metric: str) -> tuple[str, str]:
    return f"vector_{metric}_ops", OPERATORS[metric]


def test_null_and_zero_vectors_are_not_found(documents: psycopg.Connection[Any]) -> None:
    build(documents, "embedding vector_cosine_ops")
    documents.execute("ALTER TABLE documents ALTER embedding DROP NOT NULL")
    zero = f"[{','.join('0' * DIMENSIONS)}]"
    documents.execute(f"INSERT INTO documents VALUES (-1, 1, NULL), (-2, 1, '{zero}')".encode())
    documents.execute("SET enable_seqscan = off; SET hnsw.ef_search = 1000; SET hnsw.iterative_scan = strict_order")
    rows = typed(documents, "SELECT id FROM documents ORDER BY embedding <=> $1 LIMIT 5000", vector(documents))
    assert len(rows) > 1000
    assert not {(-1,), (-2,)} & {*rows}
