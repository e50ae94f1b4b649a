"""The scanner finds where statements begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvector_seed.migrate.scanner import UnclosedError, comments, split

ROUTINE = """CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql
BEGIN ATOMIC
  SELECT CASE WHEN a > 0 THEN 1 ELSE 2 END;
  SELECT (SELECT 1);
END"""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';'",
        "SELECT 'it''s; '",
        "SELECT '-- no comment; '",
        "SELECT '\\'",  # with standard_conforming_strings a backslash is only a backslash
        r"SELECT E'\'; '",
        "SELECT E'a'\n  -- between\n  'b\\';'",
        "SELECT U&'d\\0061;'",
        'SELECT ";" AS "a""b;"',
        "SELECT $$ ; ' $$",
        "SELECT $a$ ; $b$ ; $$ ; $a$",
        "SELECT $é_1$ ; $é_1$",
        "SELECT a$b$c",  # a name, in which a dollar may stand
        "SELECT 1 /* ; /* ; */ ' */ + 1",
        "SELECT 1 -- ; '\n + 1",
        "SELECT 1 <-- ; an operator ends where a comment begins\n 2",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b)",
        ROUTINE,
        ROUTINE.replace("OR REPLACE FUNCTION", "PROCEDURE").lower(),
        "CREATE TABLE begin_ (atomic int, begin int)",
        "SELECT 1 AS begin, 2 AS atomic",
        "SELECT '\u2003', \u00e9\u00e8 FROM t",
    ],
)
def test_a_statement_is_one(statement: str) -> None:
    """Statements that a split at semicolons or lines would cut stay whole."""
    statements = split(f"-- first\n{statement};\n\n;;{statement}\n-- last")
    assert [part.text for part in statements] == [statement, statement]
    assert [part.line for part in statements] == [2, 4 + statement.count("\n")]


@pytest.mark.parametrize("text", ["'a", "E'a\\'", '"a', "$$ a $", "$a$ $b$", "/* /* */", "U&'a", 'SELECT 1;\n"'])
def test_what_is_never_closed_is_named_with_its_line(text: str) -> None:
    with pytest.raises(UnclosedError, match="line 3"):
        split("SELECT 1;\n\n" + text.replace("SELECT 1;\n", ""))


def test_no_statement_in_comments() -> None:
    assert split("-- a\n/* b; */ ;\n") == []
    assert comments("-- a\n SELECT '-- b'; /* -- c\n */ -- d ") == ["a", "d"]


def test_tokens_are_words_names_strings_and_signs() -> None:
    (statement,) = split("Create /* no */ INDEX \"My I\" ON s.t(v) -- no\nWITH (m='4')")
    assert statement.tokens == [
        "Create",
        "INDEX",
        '"My I"',
        "ON",
        "s",
        ".",
        "t",
        "(",
        "v",
        ")",
        "WITH",
        "(",
        "m",
        "=",
        "'4'",
        ")",
    ]
    assert statement.words[0] == "CREATE"


@given(st.text(alphabet="';\"$a\\-/*()E \né", max_size=30))
def test_nothing_is_lost_and_nothing_is_made_up(text: str) -> None:
    """Only semicolons, white space and comments are between two statements."""
    try:
        statements = split(text)
    except UnclosedError:
        return
    position = 0
    for statement in statements:
        places = (at for at in range(position, len(text)) if text.startswith(statement.text, at))
        on_line = (at for at in places if text.count("\n", 0, at) + 1 == statement.line)
        start = next(at for at in on_line if skipped(text[position:at]))
        position = start + len(statement.text)
    assert skipped(text[position:])


def skipped(text: str) -> bool:
    """Return True if the text has no statement."""
    try:
        return split(text) == []
    except UnclosedError:
        return False
