"""One database for the tests of a module, and runs of the command in this process."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from local.binaries import INSTALLED
from local.server import Server
from pgvector_seed.common.console import _run
from tests.conftest import TEMPLATE, ask, conninfo, pg_variables

TABLES = """
CREATE TABLE items (id bigint PRIMARY KEY, label text, embedding vector(3));
INSERT INTO items SELECT n, CASE WHEN n % 500 = 0 THEN 'rare' ELSE 'common' END,
    ARRAY[sin(n), cos(n * 7), sin(n * 3)]::vector FROM generate_series(1, 3000) n;
CREATE INDEX items_embedding_hnsw ON items USING hnsw (embedding vector_l2_ops);
CREATE TABLE words (id int PRIMARY KEY, word text, embedding vector(3));
INSERT INTO words VALUES (1, 'king', '[1,1,0]'), (2, 'man', '[1,0,0]'), (3, 'woman', '[0,0,1]'),
    (4, 'queen', '[0,1,1]'), (5, 'mother-in-law', '[0,3,4]'), (6, 'new york', '[2,2,2]'), (7, 'empty', NULL),
    (8, 'twin', '[3,0,1]'), (9, 'twin', '[3,0,1]'), (10, '-', '[0,9,9]'), (11, 'o''neill', '[5,5,0]');
CREATE TABLE pairs (a int, b int, embedding halfvec(2), PRIMARY KEY (a, b));
INSERT INTO pairs VALUES (1, 1, '[1,0]'), (1, 2, '[0,1]'), (2, 1, '[1,1]');
CREATE TABLE keyless (distance text, "select" int, "100%" text, column0 int, id int, embedding vector(2));
INSERT INTO keyless VALUES ('far', 7, 'x', 8, 9, '[1,1]'), ('near', 1, 'y', 2, 3, '[1,0]');
CREATE TABLE same (id int PRIMARY KEY, embedding vector(2));
INSERT INTO same SELECT n, '[1,2]' FROM generate_series(1, 5) n;
CREATE TABLE sparse (id int PRIMARY KEY, embedding sparsevec(1000000));
INSERT INTO sparse VALUES (1, '{1:1,3:2}/1000000'), (2, '{3:1}/1000000'), (3, '{1:1,3:1}/1000000');
CREATE TABLE named (id uuid PRIMARY KEY, embedding vector(2));
CREATE FUNCTION writes() RETURNS boolean LANGUAGE sql AS $$ INSERT INTO same VALUES (99, '[1,1]') RETURNING true $$;
CREATE SEQUENCE counter;
ANALYZE
"""
Query = Callable[..., str]


@pytest.fixture(scope="session")
def newest(start_server: Callable[[int], Server]) -> Server:
    """Return the server of the newest version: no outcome here depends on it."""
    return start_server(max(INSTALLED))


@pytest.fixture(scope="module")
def shared(newest: Server) -> Iterator[str]:
    """Return the conninfo of a database with the tables above."""
    name = f"query {secrets.token_hex(4)}"
    with psycopg.connect(conninfo(newest, "postgres"), autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        ask(conninfo(newest, name), TABLES)
        yield conninfo(newest, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def query(shared: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Query:
    """Return a function that runs the command, checks its exit code, and returns its output and its errors."""

    def run(*words: str, code: int = 0, **settings: str) -> str:
        for name, value in {**pg_variables(shared), **settings}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["seed", "query", *words])
        actual = _run("seed.cli")
        output = capsys.readouterr()
        assert actual == code, output
        return output.out if "--json" in words else output.out + output.err

    return run


@pytest.fixture
def answers(query: Query) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command with --json, and returns its document."""

    def run(*words: str, **options: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(query(*words, "--json", **options))
        return document

    return run
