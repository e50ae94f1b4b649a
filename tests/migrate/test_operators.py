"""Operators that another role planted in a schema of the search_path of a superuser who migrates."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvector_seed.migrate.adopt import baseline
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.indexes import drop
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare, name_of
from tests.migrate.helpers import MARK, run, write
from tests.migrate.test_indexes import NAME, ROWS, TABLE, build_all, declared

# Better matches than the operators of pg_catalog, none of which has exactly these types.
IN_PUBLIC = [
    *(("=", "oid", kind) for kind in ("regclass", "regnamespace", "int4")),
    *(("<>", "oid", kind) for kind in ("regclass", "regnamespace", "int4")),
    *(
        ("||", left, right)
        for left, right in (("text", "name"), ("name", "text"), ("text", "int2"), ("text", '"char"'))
    ),
    *((operator, "name", "name") for operator in ("~~", "!~~")),
    *(("=", "oid", kind) for kind in ("int2", "int8")),
    *(("/", "float4", "int4"), (">=", "float4", "int4"), ("*", "float8", "int8"), (">", "float8", "int4")),
]
# The same types, in a schema that the database's search_path names before pg_catalog.
BEFORE_PG_CATALOG = [
    *(("=", kind, kind) for kind in ("text", "name", "oid", '"char"', "bool")),
    *(("~", "text", "text"), ("<>", '"char"', '"char"')),
    *((operator, "float8", "float8") for operator in ("/", "*", ">", ">=")),
]


def plant(conninfo: str, schema: str, operators: list[tuple[str, str, str]]) -> None:
    """Create operators that raise an error when they are used."""
    for number, (operator, left_type, right) in enumerate(operators):
        result = {"||": "text", "/": "float8", "*": "float8"}.get(operator, "bool")
        ask(
            conninfo,
            f"CREATE FUNCTION {schema}.trap_{number}({left_type}, {right}) RETURNS {result} LANGUAGE plpgsql AS "
            f"$$BEGIN RAISE EXCEPTION 'caught by {operator}({left_type}, {right})'; END$$; "
            f"CREATE OPERATOR {schema}.{operator} "
            f"(LEFTARG = {left_type}, RIGHTARG = {right}, FUNCTION = {schema}.trap_{number})",
        )


@pytest.fixture(params=["in public", "before pg_catalog"])
def trapped(request: pytest.FixtureRequest, database: str) -> str:
    """Yield a database with planted operators in every new session's search_path."""
    if request.param == "in public":
        plant(database, "public", IN_PUBLIC)
    else:
        ask(database, "CREATE SCHEMA evil")
        plant(database, "evil", BEFORE_PG_CATALOG)
        ask(database, f"ALTER DATABASE {name_of(database)} SET search_path = evil, pg_catalog, public")
    return database


MIGRATIONS = {
    "a1_up": "CREATE TABLE a (id serial PRIMARY KEY, v vector(3), t text COLLATE \"C\" DEFAULT 'x' NOT NULL);"
    "CREATE VIEW w AS SELECT id FROM a; CREATE TYPE e AS ENUM ('y'); ALTER TABLE a ALTER t SET STATISTICS 9;"
    "CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql RETURN 1; DROP TABLE IF EXISTS other",
    "b2_up": MARK + "CREATE INDEX CONCURRENTLY i ON a USING hnsw (v vector_l2_ops)",
    "b2_down": MARK + "DROP INDEX CONCURRENTLY i",
    "c3_up": "INSERT INTO a (v) SELECT '[1,2,3]' FROM generate_series(1, 9);\n"
    "CREATE INDEX j ON a USING hnsw (v vector_l2_ops)",
}


def test_migrations_are_applied_without_them(trapped: str, folder: Path) -> None:
    write(folder, **MIGRATIONS)
    assert any("needs about" in message for message in run(trapped, folder)[1])
    assert run(trapped, folder)[1] == []


def test_a_database_is_taken_over_without_them(trapped: str, folder: Path) -> None:
    write(folder, **MIGRATIONS)
    run(trapped, folder)
    ask(trapped, "DROP SCHEMA pgvector_seed CASCADE")
    with connect(trapped) as connection:
        assert baseline(connection, load(folder), declare(), "0003_c", lambda _line: None) == [
            *("0001_a", "0002_b", "0003_c")
        ]


def test_an_index_is_built_and_measured_without_them(trapped: str, folder: Path) -> None:
    write(folder, a1_up=TABLE)
    run(trapped, folder, declared(recall={"k": 2, "minimum": 0.1}))
    ask(trapped, ROWS.format(1, 200))
    assert build_all(trapped, sample_rows=100).built == [NAME]
    with connect(trapped) as connection:
        assert drop(connection, NAME, lambda _line: None)
