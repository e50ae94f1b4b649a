"""The scanner and the server find the same statements: the server answers each of them once."""

from __future__ import annotations

import random

import psycopg
import pytest

from pgvector_seed.migrate.scanner import split
from tests.conftest import tries

# Each runs on an empty database any number of times, and ends without a semicolon.
PIECES = [
    "SELECT 1",
    "select ';' as \"a;b\", 'it''s; -- no' -- ; '\n, E'\\';' , $$ ; ' $$, $q$ $$;$$ $q$",
    "/* ; /* ' */ ; */ VALUES (1), (2)",
    "SELECT E'a;'\n -- '; between\n ';\\'b', U&'\\003b;', B'1', X'f', N'n;'",
    "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE a WHEN 1 THEN 2 END; END",
    "CREATE OR REPLACE FUNCTION h() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; SELECT 3; END",
    "CREATE OR REPLACE FUNCTION k() RETURNS int BEGIN ATOMIC SELECT t.end FROM (SELECT 2 AS end) t; END",
    "CREATE OR REPLACE PROCEDURE p() LANGUAGE SQL BEGIN ATOMIC END",
    "CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN 1; END $f$",
    "DO $$ BEGIN PERFORM 1; IF true THEN NULL; END IF; END $$",
    "CREATE TABLE IF NOT EXISTS t (begin int, atomic int DEFAULT 1)",
    "CREATE TABLE IF NOT EXISTS t (begin int); CREATE OR REPLACE RULE r AS ON UPDATE TO t DO ALSO (SELECT 1; SELECT 2)",
    "SELECT 1 AS a$b$, 2 AS é$$é",
    "SELECT 1 /* '*/ + /* $$ */ 2",
    "SELECT 5 - -1, 2 <-- ;\n 3",
    "SELECT '\\', ';'",
    'SELECT 1 AS "begin", (SELECT 2) AS atomic',
    "\n;;  ; SELECT 'after nothing'",
    "PREPARE q AS SELECT $1::int; EXECUTE q(1); DEALLOCATE q",
]


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_runs_alone(database: str, piece: str) -> None:
    """Each piece of a split text is a complete statement to the server."""
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in split(piece):
            connection.execute(statement.text.encode(), prepare=False)
        assert answers(connection, piece) == len(split(piece))


def test_as_many_statements_as_the_server_answers(database: str) -> None:
    """Random pieces with random separators are split into as many statements as the server answers."""
    dice = random.Random(5)
    between = [";", " ;\n", ";/* ; */;", "; -- ;\n", ";\r\n", ";\f;"]
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(tries(50, soak=2000)):
            chosen = dice.choices(PIECES, k=dice.randrange(1, 8))
            text = "".join(piece + dice.choice(between) for piece in chosen)
            assert answers(connection, text) == len(split(text)), text


def answers(connection: psycopg.Connection, text: str) -> int:
    """Return the number of statements that the server finds in a text, without empty ones."""
    cursor = connection.execute(text.encode(), prepare=False)
    messages = [cursor.statusmessage]
    while cursor.nextset():
        messages.append(cursor.statusmessage)
    return sum(bool(message) for message in messages)
