"""The SQL and the Python of docs/search.md, on a server.

Its commands, SQLAlchemy and Rust are not run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from local.server import Server
from local.workspace import ROOT
from tests.conftest import TEMPLATE, ask, conninfo, pg_variables
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone

PAGE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
SQL = dict(re.findall(r"<!-- sql: (\w+) -->\n```sql\n(.*?)```", PAGE, re.S))
PYTHON = dict(re.findall(r"<!-- python: (\w+) -->\n```python\n(.*?)```", PAGE, re.S))
NAME = "search_page"
# Each vector is that of 4 rows, so there are equal distances; one row in 50 is of the tenant 7.
FILL = """
INSERT INTO documents
SELECT i, CASE WHEN i % 50 = 0 THEN 7 ELSE 1 END, CASE WHEN i % 100 = 3 THEN 'The cat sleeps' ELSE 'A dog' END,
       ARRAY[sin(i / 4), cos(i / 4 * 7), sin(i / 4 * 3), 1]::vector
FROM generate_series(1, 3000) i;
ANALYZE documents
"""
QUERY = "[0.3,0.1,0.6,0.5]"
EXACT = f"ORDER BY (embedding <=> '{QUERY}') + 0, id"  # an expression that no index has


@pytest.fixture(scope="module")
def filled(start_server: Any) -> Iterator[str]:
    """Yield the conninfo of a database with the page's table, which has 3,000 rows."""
    newest: Server = start_server(18)
    ask(conninfo(newest, "postgres"), f"CREATE DATABASE {NAME} TEMPLATE {TEMPLATE}")
    filled = conninfo(newest, NAME)
    ask(filled, f"{SQL['table']}; {FILL}; {SQL['text']}")
    yield filled
    ask(conninfo(newest, "postgres"), f"DROP DATABASE {NAME} WITH (FORCE)")


@pytest.fixture
def documents(filled: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection to the page's table whose changes are rolled back, and which prefers the index."""
    with psycopg.connect(filled) as connection:
        connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        yield connection
        connection.rollback()


def ask_page(connection: psycopg.Connection[Any], title: str, *values: object, query: str = QUERY) -> list[Any]:
    """Return the rows of the last statement of a block, with values for $1, $2 and so on."""
    *settings, statement = SQL[title].rstrip().removesuffix(";").split(";\n")
    for setting in settings:
        connection.execute(setting.encode())
    return psycopg.RawCursor(connection).execute(typed(statement), (query, *values)).fetchall()


def typed(statement: str) -> bytes:
    return statement.replace("$1", "$1::vector").encode()


def explain(connection: psycopg.Connection[Any], title: str, *values: object) -> str:
    statement = b"EXPLAIN " + typed(SQL[title].rstrip().removesuffix(";").split(";\n")[-1])
    return str(psycopg.RawCursor(connection).execute(statement, (QUERY, *values)).fetchall())


def test_all_blocks_are_tested() -> None:
    """A block of SQL or Python that is added to the page gets a test; SQLAlchemy's has none."""
    assert SQL.keys() == {"table", "filter", "text", "hybrid", "page", "tenant"}
    assert len(SQL) == PAGE.count("```sql")
    assert PYTHON.keys() == {"nearest", "async", "psycopg"}
    assert len(PYTHON) == PAGE.count("```python") - 1


def test_the_python_of_the_page_finds_the_same_rows(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nearest`, awaited or not, and psycopg by hand give the nearest rows of all, or of the tenant."""
    for name, value in pg_variables(filled).items():
        monkeypatch.setenv(name, value)
    answers: dict[str, list[Any]] = {}
    for title, block in PYTHON.items():
        names: dict[str, Any] = {}
        code = compile(block, f"search.md: {title}", "exec")
        with ThreadPoolExecutor(1) as thread:  # asyncio.run in the main one would leave it without an event loop
            thread.submit(exec, code, names).result()
        answers[title] = names["neighbors"]
    of_tenant = [id_ for (id_,) in ask(filled, f"SELECT id FROM documents WHERE tenant = 7 {EXACT} LIMIT 5")]
    assert [id_ for id_, _, _ in answers["nearest"]] == [id_ for id_, _ in answers["psycopg"]] == of_tenant
    distances = ask(filled, f"SELECT embedding <=> '{QUERY}' FROM documents {EXACT} LIMIT 5")
    assert [one.distance for one in answers["async"]] == [distance for (distance,) in distances]


def test_a_filter_gets_too_few_rows_without_the_setting_of_the_page(documents: psycopg.Connection[Any]) -> None:
    assert "documents_embedding_hnsw" in explain(documents, "filter")
    statement = SQL["filter"].split(";\n")[1]
    assert len(psycopg.RawCursor(documents).execute(typed(statement), (QUERY,)).fetchall()) < 10
    assert len(ask_page(documents, "filter")) == 10


def test_hybrid_search_ranks_first_what_both_find(documents: psycopg.Connection[Any]) -> None:
    """The nearest row that also has the word comes before the nearest rows without it."""
    nearest = str(ask_one(documents, "SELECT embedding::text FROM documents WHERE id = 1203"))
    rows = ask_page(documents, "hybrid", "cats sleeping", query=nearest)
    assert len(rows) == 10
    assert rows[0][0] == 1203
    assert rows[0][1] > rows[1][1]
    only_vectors = ask_page(documents, "hybrid", "nosuchword", query=nearest)
    assert {id_ for id_, _ in only_vectors} >= {1200, 1201, 1202, 1203}
    assert "documents_body" in explain(documents, "hybrid", "cats")


def ask_one(connection: psycopg.Connection[Any], statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_pages_have_every_row_once_also_among_equal_distances(documents: psycopg.Connection[Any]) -> None:
    """Thirty pages by the index are the first rows by distance and id."""
    assert "documents_embedding_hnsw" in explain(documents, "page", 0.1, 1)
    documents.execute("SET LOCAL hnsw.ef_search = 400")
    shown, last = [], (-1.0, 0)
    for _ in range(30):
        rows = ask_page(documents, "page", *last)
        shown += rows
        last = (rows[-1][1], rows[-1][0])
    assert len({id_ for id_, _ in shown}) == 300
    exact = documents.execute(f"SELECT id FROM documents {EXACT} LIMIT 300".encode()).fetchall()
    assert [(id_,) for id_, _ in shown] == exact


def test_row_security_gives_a_tenant_its_own_neighbors(documents: psycopg.Connection[Any]) -> None:
    documents.execute(SQL["tenant"].encode())
    documents.execute("CREATE ROLE search_page_app; GRANT SELECT ON documents TO search_page_app")
    documents.execute("SET LOCAL ROLE search_page_app; SET LOCAL app.tenant = 7")
    documents.execute("SET LOCAL hnsw.iterative_scan = strict_order")
    statement = f"SELECT tenant FROM documents ORDER BY embedding <=> '{QUERY}' LIMIT 10".encode()
    assert "documents_embedding_hnsw" in str(documents.execute(b"EXPLAIN " + statement).fetchall())
    assert documents.execute(statement).fetchall() == [(7,)] * 10
