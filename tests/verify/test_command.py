"""The verify command: the source of its contract, its output and reports, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from local.workspace import ROOT
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import undo
from pgvector_seed.postgres.connection import connect
from seed.verify.checks import CHECKS
from seed.verify.sections import section
from seed.verify.write import write as write_report
from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables
from tests.migrate.helpers import run as apply
from tests.migrate.helpers import write
from tests.verify.helpers import CONTRACT, FAULTS, declared, run_sql

FILE = str(FAULTS / "contract.json")
SCHEMA = json.loads((ROOT / "seed/verify/formats/report.schema.json").read_text())


def run(conninfo: str, *words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m seed verify`` with libpq's variables only."""
    settings = {**os.environ, **pg_variables(conninfo), **variables}
    return run_seed("verify", *words, environment=settings, stdin=stdin)


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON report. Fails if it violates the schema."""
    report_data: dict[str, Any] = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(report_data)
    return report_data


def statuses(report_data: Mapping[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in report_data["checks"]}


def test_all_is_right(base: str) -> None:
    done = run(base, "--contract", FILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\npass ") == len(CHECKS) - 2
    assert "2 not declared" in done.stdout.splitlines()[-1]


def test_a_failure_says_what_to_type(base: str) -> None:
    ask(base, "DROP INDEX items_embedding_hnsw")
    done = run(base, "--contract", FILE)
    assert done.returncode == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    create = next(line for line in lines if line.startswith("to fix: CREATE INDEX")).removeprefix("to fix: ")
    run_sql(base, create)
    assert run(base, "--contract", FILE).returncode == 0, "what it says to type fixes it"


def test_the_contract_comes_by_a_pipe(base: str) -> None:
    assert run(base, "--contract", "-", stdin=json.dumps(CONTRACT)).returncode == 0


def test_the_contract_that_the_database_keeps(database: str, folder: Path) -> None:
    """Without a given contract, the database is held against its recorded one."""
    write(folder, a1_up="CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3))")
    apply(database, folder, declare(tables={"items": {"rows": 1}}))
    done = run(database, "--format", "json")
    assert done.returncode == 1
    assert statuses(document(done))["ledger"] == "pass"
    assert statuses(document(done))["rows"] == "fail"
    ask(database, "INSERT INTO items VALUES (1, '[1,2,3]')")
    assert run(database).returncode == 0


def test_a_database_without_a_contract_is_told_what_comes_next(database: str, folder: Path) -> None:
    """Nothing is deployed before the first up and after a destroy; after a down, the next up records a contract."""
    nothing = run(database)
    assert "nothing is deployed in it" in nothing.stdout
    assert "make up" in nothing.stdout
    write(folder, a1_up="CREATE TABLE items (embedding vector(3))", a1_down="DROP TABLE items")
    apply(database, folder, declare())
    with connect(database) as connection:
        undo(connection, load(folder), "public", "base", print)
    undone = run(database)
    assert "its last migrations were undone" in undone.stdout
    assert "python -m seed migrate apply" in undone.stdout
    assert (nothing.returncode, undone.returncode) == (2, 2)


def test_a_table_without_any_contract(base: str) -> None:
    """Faults that the catalog alone reveals are found without a contract."""
    done = run(base, "--table", "items", "--format", "json")
    assert done.returncode == 0
    by_check = statuses(document(done))
    assert {by_check[name] for name in ("column", "vectors", "sequence", "index", "plan", "statistics")} == {"pass"}
    assert {by_check[name] for name in ("rows", "recall", "roles", "ledger")} == {"not declared"}
    ask(base, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_embedding_hnsw'::regclass")
    assert run(base, "--table", "public.items").returncode == 1


@pytest.mark.newest
def test_the_recall_of_a_table_without_any_contract(base: str) -> None:
    """The minimum decides, and a table whose metric no index tells is refused instead of not measured."""
    words = ["--table", "items", "--only", "recall", "--format", "json"]
    for minimum, status, code in (("0.5", "pass", 0), ("1", "fail", 1)):
        if minimum == "1":
            weak = "USING hnsw (embedding vector_cosine_ops) WITH (m = 2, ef_construction = 4)"
            run_sql(base, f"DROP INDEX items_embedding_hnsw; CREATE INDEX weak ON items {weak}")
        done = run(base, *words, "--recall", f"10:{minimum}")
        assert (statuses(document(done)), done.returncode) == ({"recall": status}, code)
        assert document(done)["checks"][0]["expected"] == f"recall@10 of at least {minimum}"
    ask(base, "DROP INDEX weak")
    done = run(base, "--table", "items", "--recall", "10:0.5")
    assert done.returncode == 2
    assert "the metric of items is unknown" in done.stdout


@pytest.mark.newest
@pytest.mark.parametrize(
    "text",
    [
        "10",
        "10:",
        ":0.9",
        "0:0.9",
        "10:1.1",
        "10:-0.1",
        "10:nan",
        "x:0.9",
        "10:0.9:1",
        "10.5:0.9",
        '1:0,"minimum":0',
        "",
    ],
)
def test_a_recall_of_another_form_is_exit_2(text: str) -> None:
    done = run("", "--table", "items", "--recall", text)
    assert done.returncode == 2
    assert "is not K:MINIMUM" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recall", "10:0.9"], "--recall needs --table"),
        (["--contract", "nowhere.json"], "the contract 'nowhere.json' cannot be read: No such file or directory"),
        (["--contract", "-"], "the contract from the standard input cannot be used: not JSON"),
        (["--table", "nothing"], "the table nothing does not exist in the schema public, or has no vector column"),
        (["--table", 'a"b'], 'a"b is not a valid table name'),
        ([], "this database keeps no contract"),
        (["--contract", "a", "--table", "b"], "Only one of --contract, --stack and --table"),
        (["--only", "colour"], "no such check: colour"),
        (["--only", "rows", "--skip", "rows"], "leave no check to run"),
        (["--time-limit", "0"], "--time-limit"),
        (["--time-limit", "nan"], "nan is not a number of seconds"),
        (["--output", "no/such/folder/f"], "the folder no/such/folder does not exist"),
        (["--stack", "dev"], "pulumi cannot be run: No such file or directory"),
    ],
)
def test_bad_input_is_exit_2(database: str, words: list[str], message: str) -> None:
    done = run(database, *words, PATH="/nowhere")
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_is_a_document_too(database: str) -> None:
    """A report is written for bad input as well, so that a pipeline can read it."""
    done = run(database, "--contract", "-", "--format", "json", stdin='{"contract": 1}')
    report_data = document(done)
    assert (done.returncode, report_data["right"], report_data["checks"]) == (2, False, [])
    assert "nothing is declared" in report_data["error"]
    assert "nothing is declared" in done.stderr


def test_no_connection_is_exit_3_with_a_report(base: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run(base, "--contract", FILE, "--format", "json", "--output", str(report), PGPORT="1")
    assert done.returncode == 3
    report_data = json.loads(report.read_text())
    Draft202012Validator(SCHEMA).validate(report_data)
    assert statuses(report_data)["connect"] == "fail"
    assert set(statuses(report_data).values()) == {"fail", "skip"}
    assert done.stdout.splitlines()[0].startswith("0 checks: none was run")
    assert done.stdout.count("Connection refused") == 1


def test_a_refused_login_is_exit_3_and_tells_no_password(base: str) -> None:
    done = run(base, "--contract", FILE, PGPASSWORD="hunter2")
    assert done.returncode == 3
    assert "password authentication failed" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_the_contract_says_where_the_database_is_and_the_environment_wins(base: str) -> None:
    """A contract is enough to find the database, and a variable can lead to a tunnel's port."""
    variables = pg_variables(base)
    address = {"host": variables["PGHOST"], "port": int(variables["PGPORT"]), "dbname": variables["PGDATABASE"]}
    login = {name: value for name, value in variables.items() if name in ("PGUSER", "PGPASSWORD")}
    here = json.dumps(declared(connection=address))
    elsewhere = json.dumps(declared(connection={**address, "port": 1}))
    assert run("", "--contract", "-", stdin=here, **login).returncode == 0
    assert run("", "--contract", "-", stdin=elsewhere, **login).returncode == 3
    assert run(base, "--contract", "-", stdin=elsewhere).returncode == 0


def test_strict_lets_nothing_be_skipped(base: str) -> None:
    ask(base, "ALTER ROLE items_reader PASSWORD 'x'")
    reader = {"PGUSER": "items_reader", "PGPASSWORD": "x"}
    assert run(base, "--contract", FILE, **reader).returncode == 0
    done = run(base, "--contract", FILE, "--strict", **reader)
    assert done.returncode == 1
    assert "wrong: sequence public.items" in done.stdout
    assert run(base, "--contract", FILE, "--strict").returncode == 0, "what is not declared is not skipped"


def test_only_and_skip(base: str) -> None:
    only = run(base, "--contract", FILE, "--format", "json", "--only", "rows,plan", "--only", "bloat")
    assert list(statuses(document(only))) == ["rows", "plan", "bloat"]
    others = run(base, "--contract", FILE, "--format", "json", "--skip", "rows,plan", "--skip", "bloat")
    assert list(statuses(document(others))) == [name for name in CHECKS if name not in ("rows", "plan", "bloat")]


def test_what_a_check_is_built_on_is_made_also_when_it_is_not_asked_for(base: str) -> None:
    """Recall is skipped after a failed index check, even if only recall was requested."""
    ask(base, "DROP INDEX items_embedding_hnsw")
    done = run(base, "--contract", FILE, "--format", "json", "--only", "recall")
    assert [(check["name"], check["found"]) for check in document(done)["checks"]] == [
        ("recall", "after index, which failed")
    ]


def test_list_names_every_check() -> None:
    done = run("host=nowhere", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CHECKS)


def test_junit_in_a_file_and_text_on_the_terminal(base: str, tmp_path: Path) -> None:
    ask(base, "DROP INDEX items_embedding_hnsw")
    report = tmp_path / "report.xml"
    done = run(base, "--contract", FILE, "--format", "junit", "--output", str(report))
    assert done.returncode == 1
    suite = ET.fromstring(report.read_text())[0]  # noqa: S314  # our own
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["index"]
    assert "fail  index" in done.stdout
    assert list(tmp_path.iterdir()) == [report], "nothing else is left"


@pytest.mark.newest
def test_metrics_have_the_address_and_are_written_also_without_a_connection(base: str, tmp_path: Path) -> None:
    """Both runs have the same series of the address, which their reader needs to be one."""
    report = tmp_path / "app.prom"
    for port, code in ((None, 0), ("1", 3)):
        words = ("--contract", FILE, "--skip", "recall", "--format", "prometheus", "--output", str(report))
        assert run(base, *words, **({"PGPORT": port} if port else {})).returncode == code
        text = report.read_text()
        address = 'database="{PGDATABASE}",server="{PGHOST}:{PGPORT}"'.format(
            **{**pg_variables(base), **({"PGPORT": port} if port else {})}
        )
        assert f"pgvector_seed_verify_exit_code{{{address}}} {code}\n" in text
        assert re.search(rf'{address},check="connect",table="",column="",status="fail"}} {int(code > 0)}\n', text)
        assert list(tmp_path.iterdir()) == [report]
        assert report.stat().st_mode & 0o044 == 0o044, "the collector is another user"


def test_github_gets_annotations_and_a_summary(base: str, tmp_path: Path) -> None:
    ask(base, "DROP INDEX items_embedding_hnsw")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = run(base, "--contract", FILE, "--format", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1
    assert "::error title=index public.items::" in done.stdout
    assert summary.read_text().startswith("before\n### seed verify: failed")


def test_a_report_that_cannot_be_written_is_said(base: str) -> None:
    done = run(base, "--contract", FILE, "--format", "json", "--output", "/dev/full")
    assert done.returncode == 2
    assert "the report cannot be written to /dev/full: No space left on device" in done.stderr
    assert "pass  connect" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_report_that_fails_half_way_leaves_the_one_before(tmp_path: Path) -> None:
    """A report that cannot be completed leaves the previous one in place."""
    report = tmp_path / "report.json"
    report.write_text("yesterday's")
    with pytest.raises(UnicodeEncodeError):
        write_report(report, "x" * 100_000 + "\udc80")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.json", "yesterday's")]


def test_a_server_that_is_too_old_fails_connect(base: str) -> None:
    """The report has the failure, with the exit code of a failed check, and no other check runs."""
    code = "import pgvector_seed.postgres.connection as c, seed.verify.checks.connect as k; k.OLDEST_SERVER = 99; "
    code += "import sys; sys.argv = ['seed', 'verify', '--contract', sys.argv[1], '--format', 'json']; "
    code += "from pgvector_seed.common.console import run; run('seed.cli')"
    done = subprocess.run(
        [sys.executable, "-c", code, FILE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **pg_variables(base)},
        check=False,
    )
    by_check = statuses(document(done))
    assert done.returncode == 1
    assert by_check.pop("connect") == "fail"
    assert set(by_check.values()) == {"skip"}


def test_the_docs_describe_every_check_as_the_list_does() -> None:
    text = (ROOT / "docs/verify.md").read_text()
    for check in CHECKS.values():
        assert f"| {check.name} | {check.fails_when} |" in text


def test_the_docs_have_the_section_that_a_failure_of_each_check_names() -> None:
    """An anchor is the heading, in small letters and with dashes; the second heading of a name gets another one."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/verify.md").read_text(), re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    for name in CHECKS:
        assert section(name) == f"docs/verify.md#{name}"
        assert anchors.count(name) == 1


def test_the_docs_name_every_option() -> None:
    done = run("", "--help")
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    text = (ROOT / "docs/verify.md").read_text()
    assert {option for option in options if f"`{option}" not in text} == set()
