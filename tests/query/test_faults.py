"""Faults of a query: each is named in one line, and none is a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.workspace import ROOT
from tests.conftest import Process, ask, pg_variables, until
from tests.query.conftest import Query

ITEMS = ("--table", "items")
WORDS = ("--table", "words", "--metric", "cosine")
BY_WORD = (*WORDS, "--key", "word")
POINT = ("[0,1,0]", *ITEMS)

FAULTS = {
    "dimensions": (("[0,1]", *ITEMS), "the query has 2 dimensions, embedding has 3"),
    "type": (("[0,x,1]", *ITEMS), "the query is no vector: could not convert string to float: 'x'"),
    "brackets": (("10,11,12", *ITEMS), "the query is no vector: it is not in brackets"),
    "nan": (("[0,nan,1]", *ITEMS), "a number that vector cannot hold: NaN, infinite or too large"),
    "large": (("[0,1e39,1]", *ITEMS), "a number that vector cannot hold: NaN, infinite or too large"),
    "zero": (("[0,0,0]", *ITEMS, "--metric", "cosine"), "a zero vector, which has no direction"),
    "empty": (("[]", *ITEMS), "the query is no vector"),
    "no text": (("", *ITEMS), "the query is no vector"),
    "metric of a type": ((*POINT, "--metric", "hamming"), "vector has no metric hamming"),
    "metric with a typo": ((*POINT, "--metric", "cosin"), "did you mean cosine?"),
    "no metric": (("[1,1,0]", "--table", "words"), "neither the contract .*Name one by --metric: l2"),
    "k of 0": ((*POINT, "-k", "0"), "Invalid value for '-k'"),
    "a quote": ((*POINT, "--where", "label = 'a"), "the condition is not valid: unterminated quoted string"),
    "a parenthesis": ((*POINT, "--where", "true) OR (true"), "the condition is not valid: syntax error"),
    "a semicolon": ((*POINT, "--where", "true; DROP TABLE items"), "cannot insert multiple commands"),
    "nextval": ((*POINT, "--where", "nextval('counter') > 0"), "a search is read-only, and its condition would write"),
    "writes": ((*POINT, "--where", "writes()"), "cannot execute INSERT in a read-only transaction"),
    "no condition": ((*POINT, "--where", "label"), "argument of WHERE must be type boolean"),
    "no values": ((*POINT, "--where", "label = $1"), "the condition has 1 parameter, and got 0 values"),
    "many values": ((*POINT, "--where", "true", "--value", "1"), "the condition has 0 parameters, and got 1 value"),
    "values alone": ((*POINT, "--value", "1"), "there are values, and no condition that has them"),
    "bad value": ((*POINT, "--where", "id = $1", "--value", "x"), "invalid input syntax for type bigint"),
    "missing id": (("--id", "9999", *ITEMS), "public.items has no row with id = 9999"),
    "text for an id": (("--id", "x", *ITEMS), "invalid input syntax for type bigint"),
    "id without a vector": (("--id", "7", *WORDS), "the row with id = 7 has no vector: embedding is NULL"),
    "several rows": (("--sum", "king - twin", *BY_WORD), "has several rows with word = twin"),
    "unknown word": (("--sum", "king - mann", *BY_WORD), "public.words has no row with word = mann"),
    "other case": (("--sum", "King - man", *BY_WORD), "has no row with word = King; did you mean king?"),
    "without spaces": (("--sum", "king-man", *BY_WORD), "A sum needs spaces around + and -: 'king - man'"),
    "no operator": (("--sum", "king man", *BY_WORD), "neither + nor - between king and man"),
    "no key": (("--id", "1", "--table", "keyless", "--metric", "l2"), "has no primary key.*--key COLUMN"),
    "two keys": (("--id", "1", "--table", "pairs", "--metric", "l2"), "has the columns a, b as its primary key"),
    "unknown key": (("--sum", "a", *WORDS, "--key", "wort"), "has no column wort; did you mean word?"),
    "word for an id": (("--sum", "king - man", *WORDS), "Rows are named by the column id. Name another one: --key"),
    "vector with a typo": ((*POINT, "--vector", "embeding"), "no vector column embeding; did you mean embedding?"),
    "unknown column": ((*POINT, "--columns", "lable"), "has no column lable; did you mean label?"),
    "two ways": (("[1]", "--id", "1", *ITEMS), "Only one of VECTOR and --id can be given"),
    "no way": (ITEMS, "Give VECTOR, --id, --sum or --file"),
    "key alone": ((*POINT, "--key", "id"), "--key is for --id and --sum"),
    "exact with a setting": ((*POINT, "--exact", "--ef-search", "5"), "--exact searches all rows"),
    "missing file": (("--file", "missing.npy", *ITEMS), "missing.npy: No such file or directory"),
    "other file": (("--file", "README.md", *ITEMS), "has a name of no known format"),
    "unknown table": (("[1]", "--table", "itmes"), "did you mean items?"),
    "underscore": (("[1_0,1,1]", *ITEMS), "it has an underscore"),
    "no UTF-8": ((*POINT, "--where", "label = $1", "--value", "\udcff"), "\\udcff is no text in UTF-8"),
    "k beyond bigint": ((*POINT, "-k", str(2**70)), "bigint out of range"),
    "large sparse vector": (("{1:1}/1000000000", "--table", "sparse", "--metric", "l2"), "1,000,000,000 dimensions"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input(name: str, query: Query) -> None:
    """Exit code 2, and one line that says what is wrong."""
    words, expected = FAULTS[name]
    output = query(*words, code=2)
    assert all(part in output for part in expected.split(".*")), output


def test_an_unknown_uuid(query: Query) -> None:
    """Its signs are no sum: only a word gets the advice to put spaces around them."""
    uuid = "5bc8fbbc-bde5-4099-8164-d8399f767c45"
    output = query("--id", uuid, "--table", "named", "--metric", "l2", code=2)
    assert output == f"error: public.named has no row with id = {uuid}\n"


def test_nothing_was_written(shared: str, query: Query) -> None:
    query(*POINT, "--where", "writes()", code=2)
    assert ask(shared, "SELECT count(*) FROM same") == [(5,)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--where", "id = 5 -- the fifth"), [5]),
        (("--where", "id = 5 /* the fifth"), None),
        (("--where", "id % 1000 = 1 AND label LIKE 'comm%'"), [1, 1001, 2001]),
        (("--where", "label = $1 AND id = $2", "--value", "common", "--value", "5"), [5]),
        (("--where", "label = $1", "--value", "x' OR true --"), []),
        (("--where", "id IN (SELECT id FROM items WHERE id < 3)"), [1, 2]),
    ],
)
def test_conditions(words: tuple[str, ...], expected: list[int] | None, answers: Callable[..., dict[str, Any]]) -> None:
    """A condition is SQL as in psql, with comments, per cent signs and subqueries; values are never SQL."""
    document = answers(*POINT, *words, code=0 if expected is not None else 2)
    assert expected is None or sorted(neighbor["id"] for neighbor in document["answers"]) == expected


def test_words_with_signs_and_spaces(answers: Callable[..., dict[str, Any]]) -> None:
    for words in ("mother-in-law - man", "'new york' - man", "man - -", '"-" + man', "- man", "o'neill - man"):
        assert answers("--sum", words, *BY_WORD)["answers"], words


def test_files_that_are_no_queries(tmp_path: Path, query: Query) -> None:
    """Each fault has its line; an empty file is none, and a note says so."""
    faults = {
        '{"v": [1]}': "line 1: the object has no list of the name vector or embedding",
        '\n\n"x"': "line 3: it is neither a JSON object nor a list",
        "[1, null, 2]": "line 1: the query is no vector: not every element is a number",
        "[1, 2, 1e39]": "line 1: the query has a number that vector cannot hold",
        "\xff": "line 1: it is neither a JSON object nor a list",
    }
    file = tmp_path / "queries.jsonl"
    for text, expected in faults.items():
        file.write_text(text, encoding="latin-1")
        assert expected in query("--file", str(file), *ITEMS, code=2)
    file.write_text("\n")
    assert query("--file", str(file), *ITEMS) == f"note: {file} has no query\n"


def test_a_sum_without_a_direction(query: Query) -> None:
    assert "a zero vector, which has no direction" in query("--sum", "king - king", *BY_WORD, code=2)


def test_a_sum_of_other_types(answers: Callable[..., dict[str, Any]]) -> None:
    document = answers("--sum", "1 - 2", "--table", "sparse", "--metric", "l2")
    assert [(neighbor["id"], neighbor["distance"]) for neighbor in document["answers"]] == [(3, 0.0)]
    document = answers("--sum", "1 + 2", "--table", "pairs", "--metric", "l2", "--key", "b", code=2)
    assert "several rows with b = 1" in document["error"]


def test_row_security(shared: str, query: Query, answers: Callable[..., dict[str, Any]]) -> None:
    """The neighbors are the login's, and a hidden row cannot be asked by."""
    ask(shared, "CREATE TABLE IF NOT EXISTS fenced AS SELECT * FROM same")
    role = f"tenant_{ask(shared, 'SELECT oid FROM pg_database WHERE datname = current_database()')[0][0]}"
    ask(
        shared,
        f"ALTER TABLE fenced ENABLE ROW LEVEL SECURITY; CREATE ROLE {role} LOGIN PASSWORD 's'; "
        f"GRANT SELECT ON fenced TO {role}; CREATE POLICY own ON fenced USING (id > 3)",
    )
    try:
        login = {"PGUSER": role, "PGPASSWORD": "s"}
        words = ("--table", "fenced", "--metric", "l2")
        document = answers("[1,2]", *words, **login)
        assert sorted(neighbor["columns"]["id"] for neighbor in document["answers"]) == [4, 5]
        assert "has no row with id = 1" in query("--id", "1", *words, "--key", "id", code=2, **login)
        assert "permission denied for table items" in query(*POINT, code=1, **login)
    finally:
        ask(shared, f"DROP TABLE fenced; DROP ROLE {role}")


def test_a_statement_timeout(query: Query) -> None:
    slow = (*POINT, "--where", "pg_sleep(1) IS NULL")
    assert "canceling statement due to statement timeout" in query(*slow, code=1, PGOPTIONS="-c statement_timeout=200")


def test_an_exact_search_that_takes_too_long(query: Query) -> None:
    """After another search, a note says that rows may be missing; with --exact there is no answer."""
    few = "-c statement_timeout=300 -c hnsw.iterative_scan=off -c hnsw.ef_search=1"
    words = (*POINT, "--where", "id < $1 OR pg_sleep(0.001) IS NULL", "--value", "-5", "-k", "1")
    assert "note: the exact search was stopped by a time limit" in query(*words, PGOPTIONS=few)
    output = query(*words, "--exact", code=1, PGOPTIONS=few)
    assert "error: the exact search was stopped by a time limit: there is no answer" in output


def start(shared: str, *words: str) -> Process:
    environment = {**os.environ, **pg_variables(shared)}
    command = [sys.executable, "-m", "seed", "query", *words]
    return Process(command, cwd=ROOT, env=environment, stdout=-1, stderr=subprocess.PIPE, text=True)


SLEEPING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


@pytest.mark.parametrize("way", ["one", "file"])
def test_ctrl_c(way: str, shared: str, tmp_path: Path) -> None:
    """The server stops, and the exit code is 130."""
    (tmp_path / "queries.jsonl").write_text("[0,1,0]\n" * 300)
    asked = ("[0,1,0]",) if way == "one" else ("--file", str(tmp_path / "queries.jsonl"))
    with start(shared, *asked, *ITEMS, "--where", "pg_sleep(600) IS NULL") as process:
        until(lambda: ask(shared, SLEEPING) or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.strip() == "interrupted. Run the same command again."
    until(lambda: not ask(shared, SLEEPING))


def test_a_closed_pipe(shared: str, tmp_path: Path) -> None:
    """A reader such as head ends the command without a traceback."""
    (tmp_path / "queries.jsonl").write_text("[0,1,0]\n" * 3000)
    with start(shared, "--file", str(tmp_path / "queries.jsonl"), *ITEMS, "--json") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, errors) == (1, "")


HOSTILE = "odd %s{}\n##[error]\x1b[2J"


def test_hostile_text_prints_as_text(shared: str, query: Query) -> None:
    """Neither a key nor the name of a table begins a command of a CI runner or of the terminal."""
    name = f'"{HOSTILE}"'
    ask(
        shared,
        f"CREATE TABLE {name} (id text PRIMARY KEY, at vector(1)); INSERT INTO {name} VALUES ('::error::a', '[1]')",
    )
    words = ("[1]", "--table", name, "--metric", "l2")
    for output in (query(*words), query(*words, "--where", "false")):
        assert not any(line.startswith("::") or "##[" in line or "\x1b" in line for line in output.split("\n"))
        assert r"\x3a:error::a" in output or r"odd %s{}\n##\x5berror]\x1b[2J" in output


def test_a_type_with_the_name_of_a_vector_type(shared: str, answers: Callable[..., dict[str, Any]]) -> None:
    """It is no vector column, and its values are text; JSON that is nested too deeply is named."""
    ask(
        shared,
        "CREATE SCHEMA other; CREATE TYPE other.vector AS ENUM ('no number'); "
        "CREATE TABLE alike (id int PRIMARY KEY, kind other.vector, deep json, at public.vector(1)); "
        "INSERT INTO alike VALUES (1, 'no number', (repeat('[', 3000) || repeat(']', 3000))::json, '[1]')",
    )
    words = ("[1]", "--table", "alike", "--metric", "l2")
    assert answers(*words, "--columns", "kind")["answers"][0]["columns"] == {"kind": "no number"}
    assert "nested too deeply" in answers(*words, code=2)["error"]
