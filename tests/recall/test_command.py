"""``python -m seed recall``: its table, its JSON, its picture and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from local.binaries import INSTALLED
from local.server import Server
from local.workspace import ROOT
from tests.conftest import TEMPLATE, Process, ask, conninfo, declare, pg_variables, until
from tests.data.helpers import vectors
from tests.data.test_tune import DIMENSIONS, put
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone
from tests.migrate.helpers import run, write

pytestmark = pytest.mark.newest
TABLE = f"""
CREATE TABLE "My items" (tenant int, v vector({DIMENSIONS}));
INSERT INTO "My items" SELECT id % 5, v FROM raw;
CREATE INDEX ON "My items" USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 16);
ANALYZE
"""
WITHOUT_NUMPY = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from seed.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def shared(start_server: Callable[[int], Server]) -> Iterator[str]:
    """Yield a database with a table of 3,000 rows, which has no key and a name to be quoted."""
    server = start_server(max(INSTALLED))
    ask(conninfo(server, "postgres"), f"CREATE DATABASE recall TEMPLATE {TEMPLATE}")
    database = conninfo(server, "recall")
    ask(database, f"CREATE TABLE raw (id int, v vector({DIMENSIONS}))")
    put(database, vectors(3000, DIMENSIONS))
    ask(database, TABLE)
    yield database
    ask(conninfo(server, "postgres"), "DROP DATABASE recall WITH (FORCE)")


def start(database: str, *words: str, program: tuple[str, ...] = ("-m", "seed"), **settings: str) -> Process:
    """Start the command."""
    command = [sys.executable, *program, "recall", "--table", '"My items"', "--queries", "60", *words]
    environment = {**os.environ, **pg_variables(database), "COLUMNS": "80", **settings}
    return Process(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recall(database: str, *words: str, code: int = 0, **options: Any) -> str:
    """Run the command, and return its output, or with --json only that of stdout."""
    with start(database, *words, **options) as process:
        output, errors = process.communicate()
    assert process.returncode == code, output + errors
    assert "Traceback" not in errors
    return output if "--json" in words else output + errors


def test_the_table_and_the_recommendation(shared: str, tmp_path: Path) -> None:
    """A row for each value in 80 columns, then the key of the stack and the SQL, which works as it is typed."""
    picture = tmp_path / "curve.svg"
    output = recall(shared, "--target", "0.5", "--plot", str(picture))
    lines = output.splitlines()
    assert lines[0] == 'recall@10 of public."My items" (v), l2'
    assert lines[2] == "60 queries: 30 choose, 30 confirm; target 0.5"
    assert "ef_search  recall   99 % interval  worst  p50 ms  p95 ms  p99 ms  queries/s" in lines
    assert max(map(len, [*lines[:-4], *lines[-2:]])) <= 80
    value = re.search(r"^Recommended: hnsw.ef_search = (\d+)$", output, re.MULTILINE)
    assert value is not None, output
    assert "Confirmed by 30 other queries: 0." in output
    assert f"readerSettings: {{hnsw.ef_search: {value[1]}, hnsw.iterative_scan: strict_order}}" in lines
    for statement in lines[-4:-2]:
        ask(shared, statement)
    shown = ask(shared, "SELECT setconfig FROM pg_db_role_setting")
    ask(shared, "ALTER DATABASE recall RESET ALL")
    assert shown == [([f"hnsw.ef_search={value[1]}", "hnsw.iterative_scan=strict_order"],)]
    drawn = ET.parse(picture)  # noqa: S314  # our own
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{value[1]} recommended" in texts
    assert "target 0.5" in texts


def test_the_key_keeps_what_the_stack_has_declared(database: str, tmp_path: Path) -> None:
    """Regression: with a declared iterative scan the key had the value alone, and copying it reset the scan."""
    write(tmp_path, a1_up=f'CREATE TABLE "My items" (v vector({DIMENSIONS}));', a1_down='DROP TABLE "My items";')
    declared = {"work_mem": "64MB", "hnsw.ef_search": 77, "hnsw.iterative_scan": "strict_order", "jit": False}
    run(database, tmp_path, declare(reader_settings=declared))
    ask(database, f"CREATE TABLE raw (id int, v vector({DIMENSIONS}))")
    put(database, vectors(3000, DIMENSIONS))
    ask(
        database,
        """INSERT INTO "My items" SELECT v FROM raw; CREATE INDEX ON "My items" USING hnsw (v vector_l2_ops)""",
    )
    ask(database, "ANALYZE")
    output = recall(database, "--target", "0.5", PGOPTIONS="-c hnsw.iterative_scan=strict_order")
    (line,) = [line for line in output.splitlines() if line.startswith("readerSettings: ")]
    value = re.search(r"^Recommended: hnsw.ef_search = (\d+)$", output, re.MULTILINE)
    assert value is not None, output
    assert yaml.safe_load(line)["readerSettings"] == declared | {"hnsw.ef_search": int(value[1])}


def test_every_value_misses_the_target(shared: str) -> None:
    """Few candidates of a graph without iterative scans do not reach a recall of 1, and it says what else would."""
    options = {"PGOPTIONS": "-c enable_seqscan=off -c hnsw.iterative_scan=off"}
    document = json.loads(recall(shared, "--target", "1", "-k", "400", "--json", code=1, **options))
    assert not document["right"]
    assert document["error"].startswith(
        "every measured value of hnsw.ef_search misses the target of 1; the best recall is 0."
    )
    assert document["remedy"] == "Rebuild the index with larger m and ef_construction."
    assert (document["recommended"], document["readerSettings"], document["sql"]) == (None, {}, [])
    output = recall(shared, "--target", "1", "-k", "400", "--queries", "20", code=1, **options)
    assert "No recommendation: every measured value of hnsw.ef_search misses the target of 1" in output


def test_json_has_numbers(shared: str) -> None:
    document = json.loads(recall(shared, "--target", "0.5", "--json"))
    assert document["readerSettings"]["hnsw.ef_search"] == document["recommended"]
    assert document["readerSettings"]["hnsw.iterative_scan"] == "strict_order"
    for level in document["levels"]:
        confirmed = level.pop("confirmed")
        assert {type(number) for number in level.values()} <= {int, float}
        assert confirmed is None or {*confirmed} == {"recall", "low", "high"}
    assert [level["value"] for level in document["levels"]][:2] == [10, 20]


def test_bad_usage(shared: str, tmp_path: Path) -> None:
    """Each message names the fault, before a long work if it can."""
    for words, message in {
        ("-k", "0"): "Invalid value for '-k'",
        ("--plot", "curve.png"): "curve.png does not end with .svg",
        ("--plot", str(tmp_path / "no" / "c.svg")): "there is no such folder",
        ("--value", "3"): "there are values, and no condition that has them",
        ("--file", str(tmp_path / "none.npy")): "No such file",
        ("--file", "queries.txt"): "a name of no known format",
    }.items():
        assert message in recall(shared, *words, code=2), words


def test_without_numpy_the_server_finds_the_truth(shared: str) -> None:
    assert "Recommended: " in recall(shared, "--target", "0.5", program=("-c", WITHOUT_NUMPY))


def test_an_interrupt_ends_it(shared: str) -> None:
    """Ctrl-C cancels the statement, and leaves nothing behind."""
    running = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%My items%' AND query LIKE '%pg_sleep%' AND state = 'active'"
    )
    with start(shared, "--where", "pg_sleep(0.01) IS NOT NULL") as process:
        until(lambda: [row for row in ask(shared, f"{running} AND pid <> pg_backend_pid()") if row])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors


def test_a_closed_pipe(shared: str) -> None:
    """A reader that closes its end is a lost result, not a crash."""
    with start(shared, "--target", "0.5") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in errors
