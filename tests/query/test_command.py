"""``python -m seed query``: its answers, as tables and as JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from local.workspace import ROOT
from tests.conftest import ask, pg_variables
from tests.query.conftest import Query

Answers = Callable[..., dict[str, Any]]
WORDS = ("--table", "words", "--metric", "cosine", "--key", "word")


def ids(document: dict[str, Any]) -> list[Any]:
    return [neighbor["id"] for neighbor in document["answers"]]


def nearest(shared: str, k: int, condition: str = "true") -> list[int]:
    """Return the ids of an exact search for the vectors nearest to [0,1,0]."""
    order = f"SELECT id FROM items WHERE {condition} ORDER BY (embedding <-> '[0,1,0]') + 0 LIMIT {k}"
    return [id_ for (id_,) in ask(shared, order)]


def test_a_table_has_the_key_the_distance_and_the_other_columns(query: Query) -> None:
    output = query("[1,1,0]", "--table", "words", "--metric", "l2", "-k", "2")
    assert output.splitlines() == [
        "id  l2 distance  word",
        "--  -----------  ----",
        " 1     0.000000  king",
        " 2     1.000000  man",
    ]


def test_json_has_the_answer_and_how_it_was_found(answers: Answers) -> None:
    document = answers("[1,1,0]", "--table", "words", "--metric", "l2", "-k", "1")
    assert document == {
        "right": True,
        "table": "public.words",
        "metric": "l2",
        "exact": False,
        "note": None,
        "answers": [{"id": 1, "distance": 0.0, "columns": {"word": "king"}}],
    }


def test_a_filter_that_one_row_in_500_passes_gives_k_rows(shared: str, answers: Answers) -> None:
    """Regression of a plain search: pgvector filters after the scan, which gave none of them."""
    document = answers("[0,1,0]", "--table", "items", "-k", "5", "--where", "label = $1", "--value", "rare")
    assert (ids(document), document["metric"]) == (nearest(shared, 5, "label = 'rare'"), "l2")


def test_more_rows_than_ef_search_and_more_than_there_are(shared: str, answers: Answers) -> None:
    assert ids(answers("[0,1,0]", "--table", "items", "-k", "1100")) == nearest(shared, 1100)
    document = answers("[0,1,0]", "--table", "items", "-k", "4000")
    assert (len(document["answers"]), document["note"]) == (3000, None)


def test_too_few_rows_of_the_index_are_followed_by_an_exact_search(shared: str, query: Query) -> None:
    """A note says so, and --no-exact leaves it out."""
    words = ("[0,1,0]", "--table", "items", "-k", "200", "--ef-search", "1", "--columns", "")
    few = {"PGOPTIONS": "-c hnsw.iterative_scan=off"}
    output = query(*words, **few)
    assert "\nnote: the index gave 1 row of 200, so all rows were searched\n" in output
    assert [int(line.split()[0]) for line in output.splitlines()[2:202]] == nearest(shared, 200)
    document = json.loads(query(*words, "--no-exact", "--json", **few))
    assert (len(document["answers"]), document["exact"], document["note"]) == (1, False, None)


def test_exact_reads_every_row(shared: str, answers: Answers) -> None:
    document = answers("[0,1,0]", "--table", "items", "-k", "20", "--exact")
    assert (ids(document), document["exact"]) == (nearest(shared, 20), True)


def test_an_id_leaves_out_its_own_row(answers: Answers) -> None:
    assert 7 not in ids(answers("--id", "7", "--table", "items", "-k", "50"))
    document = answers("--id", "7", "--table", "items", "--where", "id <= $1", "--value", "9", "-k", "50")
    assert sorted(ids(document)) == [1, 2, 3, 4, 5, 6, 8, 9], "its key follows the condition's own values"


def test_a_sum_leaves_out_its_terms(query: Query) -> None:
    output = query("--sum", "king - man + woman", *WORDS, "-k", "1")
    assert output.splitlines()[2].split() == ["4", "0.000000", "queen"]
    assert "king" not in query("--sum", "king - man + woman", *WORDS, "-k", "20")


def test_columns_with_any_name(answers: Answers) -> None:
    """A column may be named as the distance, a keyword or a name of the query itself, and may have a per cent sign."""
    document = answers("[1,0]", "--table", "keyless", "--metric", "l2", "-k", "1")
    columns = {"distance": "near", "select": 1, "100%": "y", "column0": 2, "id": 3}
    assert document["answers"] == [{"id": None, "distance": 0.0, "columns": columns}]
    chosen = answers("[1,0]", "--table", "keyless", "--metric", "l2", "-k", "1", "--columns", 'select,"100%"')
    assert chosen["answers"][0]["columns"] == {"select": 1, "100%": "y"}


def test_a_composite_key(query: Query, answers: Answers) -> None:
    document = answers("[1,1]", "--table", "pairs", "--metric", "cosine", "-k", "1")
    assert document["answers"] == [{"id": [2, 1], "distance": 0.0, "columns": {}}]
    assert query("[1,1]", "--table", "pairs", "--metric", "cosine", "-k", "1").splitlines()[2].split() == [
        *("2", "1"),
        "0.000000",
    ]


def test_identical_vectors_are_all_found(answers: Answers) -> None:
    assert sorted(ids(answers("[1,2]", "--table", "same", "--metric", "l2"))) == [1, 2, 3, 4, 5]


def test_nothing_found_is_no_error(query: Query, answers: Answers) -> None:
    words = ("[1,2]", "--table", "same", "--metric", "l2", "--where", "id < 0")
    assert query(*words) == "No row found in public.same.\n"
    assert answers(*words)["answers"] == []


VALUES = """
CREATE TABLE IF NOT EXISTS odd (id uuid PRIMARY KEY, d date, n numeric, f real, b bytea, j jsonb, a date[], r numrange,
    i interval, t text, e vector(2));
INSERT INTO odd VALUES ('11111111-1111-1111-1111-111111111111', 'infinity', 12.50, 'NaN', '\\x01ff',
    '{"big": 12345678901234567890.5, "x": ["\\u00e9"]}', '{2020-01-02,-infinity}', '[1,2.5)', '1 year 2 days',
    E'a\\x1b[31m\\nb', '[1,2]'),
    ('22222222-2222-2222-2222-222222222222', NULL, 'NaN', 0.1, NULL, '[1]', NULL, NULL, NULL, U&'\\009b', '[1,3]')
ON CONFLICT DO NOTHING
"""


def test_values_of_every_kind(shared: str, query: Query) -> None:
    """JSON has all values as the server writes them; a table escapes control characters."""
    ask(shared, VALUES)
    words = ("[1,2]", "--table", "odd", "--metric", "l2")
    text = query(*words, "--json")
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert "12345678901234567890.5" in text
    first, second = (neighbor["columns"] for neighbor in json.loads(text)["answers"])
    assert first["t"] == "a\x1b[31m\nb"
    assert (first["d"], first["a"], first["r"], first["i"]) == (
        *("infinity", ["2020-01-02", "-infinity"]),
        *("[1,2.5)", "1 year 2 days"),
    )
    assert (first["n"], first["f"], first["b"], first["j"]["x"]) == (12.5, "NaN", "\\x01ff", ["é"])
    assert (second["n"], second["f"], second["d"], second["t"]) == ("NaN", 0.1, None, "\x9b")
    assert r"a\x1b[31m\nb" in query(*words)
    vectors = json.loads(query(*words, "--columns", "e", "--json"))
    assert vectors["answers"][0]["columns"] == {"e": [1, 2]}


def test_a_table_fits_the_terminal(shared: str) -> None:
    """Values are cut to 80 columns on a terminal, with wide characters counted, and are whole in a pipe."""
    long = "x" * 200
    ask(shared, f"INSERT INTO words VALUES (90, '{long}', '[7,7,7]'), (91, repeat('漢', 60), '[7,7,6]')")
    try:
        words = [sys.executable, "-m", "seed", "query", "[7,7,7]", "--table", "words", "--metric", "l2", "-k", "2"]
        environment = {**os.environ, **pg_variables(shared), "COLUMNS": "80"}
        piped = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        assert long in piped
        ours, theirs = pty.openpty()
        subprocess.run(words, cwd=ROOT, env=environment, stdout=theirs, check=True)
        os.close(theirs)
        lines = os.read(ours, 65536).decode().splitlines()
        os.close(ours)
    finally:
        ask(shared, "DELETE FROM words WHERE id >= 90")
    assert [len(line) + line.count("漢") for line in lines[1:3]] == [80, 80]
    assert lines[3].endswith("漢...")
    assert len(lines[3]) + lines[3].count("漢") in (79, 80)


def test_a_file_of_queries(tmp_path: Path, query: Query, answers: Answers) -> None:
    """The answers come in the order of the queries, with --json as one object in each line."""
    points = np.random.default_rng(1).random((250, 3), np.float32)
    np.save(tmp_path / "queries.npy", points)
    options = ("--table", "items", "-k", "3")
    lines = query("--file", str(tmp_path / "queries.npy"), *options, "--json").splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["query"] for document in documents] == list(range(1, 251))
    for place in (0, 99, 100, 249):
        assert documents[place]["answers"] == answers(str(points[place].tolist()), *options)["answers"]
    (tmp_path / "queries.jsonl").write_text('[0,1,0]\n\n{"vector": [1,1,1], "n": 5}\n{"embedding": "[0,0,1]"}\n')
    output = query("--file", str(tmp_path / "queries.jsonl"), *options)
    assert [line for line in output.splitlines() if line.startswith("query")] == ["query 1", "query 2", "query 3"]


def test_a_bad_line_ends_the_answers(tmp_path: Path, query: Query) -> None:
    """The queries before it are answered; the error names the line, and is one line of JSON, too."""
    lines = ["[0,1,0]"] * 3 + ["[0,1]", "[0,1,0]"]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    words = ("--file", str(tmp_path / "queries.jsonl"), "--table", "items", "-k", "1", "--json")
    *documents, error = map(json.loads, query(*words, code=2).splitlines())
    assert [document["query"] for document in documents] == [1, 2, 3]
    assert error["error"].endswith("queries.jsonl, line 4: the query has 2 dimensions, embedding has 3")


def test_queries_with_too_few_rows_are_asked_again(tmp_path: Path, shared: str, query: Query) -> None:
    (tmp_path / "queries.jsonl").write_text("[0,1,0]\n[1,0,0]\n")
    words = ("--file", str(tmp_path / "queries.jsonl"), "--table", "items", "-k", "50", "--ef-search", "1", "--json")
    settings = {"PGOPTIONS": "-c hnsw.iterative_scan=off"}
    documents = [json.loads(line) for line in query(*words, **settings).splitlines()]
    assert [len(document["answers"]) for document in documents] == [50, 50]
    assert ids(documents[0]) == nearest(shared, 50)
    few = [json.loads(line) for line in query(*words, "--no-exact", **settings).splitlines()]
    assert [len(document["answers"]) for document in few] == [1, 1]


def test_the_plan_is_told(query: Query, answers: Answers) -> None:
    words = ("[0,1,0]", "--table", "items", "--explain")
    assert query(*words).splitlines()[-1] == "plan: served by the index items_embedding_hnsw"
    assert answers(*words)["plan"]["indexes"] == ["items_embedding_hnsw"]
    other = query(*words, "--metric", "cosine").splitlines()[-1]
    assert (
        other == "plan: no vector index: no index is for cosine: items_embedding_hnsw is for l2 (vector_l2_ops) alone"
    )
    off = query(*words, PGOPTIONS="-c enable_indexscan=off").splitlines()[-1]
    assert "keeps the planner off items_embedding_hnsw: enable_indexscan = off" in off
    assert "PGOPTIONS" in off
