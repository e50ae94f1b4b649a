"""``python -m seed migrate`` as a user types it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError
from pgvector_seed.infra.config import KEYS
from pgvector_seed.migrate.files import create
from seed.migrate.command import migrate as cli
from tests.commands import run_seed
from tests.conftest import ask, pg_variables, tries
from tests.migrate.helpers import MARK, applied, applier, ledger_of, run, write

COMMANDS = sorted(cli.commands)


class Typed:
    """The command line on a database and a folder."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        self.conninfo = conninfo
        self.folder = folder

    def __call__(self, *words: str, code: int = 0, **settings: str) -> str:
        """Return both outputs as one text. Asserts the exit code, and that there is no traceback."""
        options = [] if words[0] == "down" else ["--directory", str(self.folder)]
        environment = {**os.environ, **pg_variables(self.conninfo), **settings}
        done = run_seed("migrate", *words, *options, environment=environment, merged="--json" not in words)
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def data(self, *words: str, code: int = 0) -> Any:
        """Return the JSON document that the command prints."""
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def typed(database: str, folder: Path) -> Typed:
    return Typed(database, folder)


def test_the_whole_way_in_text(typed: Typed, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))", a1_down="DROP TABLE a", b2_up="CREATE TABLE b ()")
    assert typed("plan").splitlines() == [
        "apply 0001_a",
        "apply 0002_b; cannot be undone: no down",
        "record the contract",
    ]
    assert typed("status").splitlines() == [
        "No ledger: nothing was applied to this database",
        "0001_a  pending",
        "0002_b  pending",
    ]
    assert [line.split(" in ")[0] for line in typed("apply").splitlines()] == ["0001_a applied", "0002_b applied"]
    assert typed("apply") == "Nothing to run: the database has every migration.\n"
    assert typed("plan") == "Nothing to do: the database has every migration.\n"
    first, second, third = typed("status").splitlines()
    assert re.fullmatch(r"Ledger [0-9a-f-]{36}, schema public", first)
    assert re.fullmatch(
        r"0001_a  applied  [-0-9]{10} [:0-9]{8}Z  \d+\.\d{3} s  by postgres, version \d+\.\d+\.\d+", second
    )
    assert third.endswith("; cannot be undone: no down")
    assert "no down was recorded for 0002_b" in typed("down", "--to", "base", code=2)
    assert typed("down", "--to", "0002_b") == "Nothing to undo: no migration is applied after 0002_b.\n"
    write(folder, b2_down="DROP TABLE b")
    assert typed("plan") == "record the edited down of 0002_b\n"
    assert typed("apply").startswith("0002_b: the edited down is recorded")
    assert typed("down", "--to", "0001_a").startswith("0002_b undone in ")
    assert applied(typed.conninfo) == ["0001_a"]


def test_the_whole_way_in_json(typed: Typed, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))", a1_down="DROP TABLE a", b2_up="CREATE TABLE b ()")
    assert typed.data("plan") == {
        "ledger": None,
        "steps": [
            {"id": "0001_a", "direction": "up", "reversible": True},
            {"id": "0002_b", "direction": "up", "reversible": False},
        ],
        "edited_downs": [],
        "declaration_changes": True,
    }
    done = typed.data("apply")
    assert done["applied"] == ["0001_a", "0002_b"]
    data = typed.data("status")
    assert (data["right"], data["schema"], data["ledger"]) == (True, "public", done["ledger"])
    assert [(entry["id"], entry["state"], entry["by"]) for entry in data["migrations"]] == [
        ("0001_a", "applied", "postgres"),
        ("0002_b", "applied", "postgres"),
    ]
    error = typed.data("down", "--to", "base", code=2)
    assert error.keys() == {"right", "error", "remedy"}
    assert typed.data("baseline", "0002_b") == {"recorded": []}
    assert typed.data("repair", "0002_b") == {"repaired": False}
    (folder / "0002_b.up.sql").unlink()
    assert "--allow-down" in typed.data("apply", code=2)["remedy"]
    ask(typed.conninfo, "UPDATE pgvector_seed.migrations SET down = 'DROP TABLE b' WHERE id = '0002_b'")
    assert typed.data("plan", "--allow-down")["steps"] == [{"id": "0002_b", "direction": "down", "reversible": True}]
    assert typed.data("apply", "--allow-down")["undone"] == ["0002_b"]
    ledger = ledger_of(typed.conninfo)
    assert ledger is not None
    assert ledger.contract["tables"], "what is left is promised again"
    assert typed.data("down", "--to", "base") == {"undone": ["0001_a"]}


def test_bad_usage_is_told_in_json_too(typed: Typed) -> None:
    """Regression: only the project's own errors were JSON."""
    assert typed.data("plan", "--schema", "pg_x", code=2).keys() == {"right", "error", "remedy"}
    assert "--lock-timeout" in typed.data("apply", "--lock-timeout", "soon", code=2)["error"]


def test_status_tells_what_does_not_fit(typed: Typed, folder: Path) -> None:
    """The status shows edited, unknown and unfinished migrations, each with its remedy."""
    write(folder, a1_up="SELECT 1", b2_up="SELECT 2")
    run(typed.conninfo, folder)
    (folder / "0002_b.up.sql").unlink()
    write(folder, a1_up="SELECT 1 + 0")
    output = typed("status", code=1)
    assert re.search(r"0001_a  changed  ", output)
    assert re.search(r"0002_b  unknown  ", output)
    assert "The files do not match" in output
    data = typed.data("status", code=1)
    assert [entry["state"] for entry in data["migrations"]] == ["changed", "unknown"]
    assert "python -m seed migrate repair" in data["remedy"]
    ask(typed.conninfo, 'UPDATE pgvector_seed.deployment SET unfinished = \'{"file": "0002_b.up.sql", "text": ""}\'')
    assert "0002_b.up.sql was begun and is not recorded as done" in typed("status", code=1)


def test_remedies_name_the_folder_and_the_schema_that_were_given(typed: Typed, folder: Path) -> None:
    """Regression: a printed command used the default folder instead of the given one."""
    at = f"--directory {folder}"
    write(folder, a1_up="SELECT 1", b2_up="SELECT 2", b2_down="SELECT 3")
    typed("apply")
    write(folder, a1_up="SELECT 1 + 0")
    assert f"python -m seed migrate repair {at} 0001_a." in typed("status", code=1)
    assert f"python -m seed migrate repair {at} --schema public 0001_a." in typed("plan", "--schema", "public", code=2)
    write(folder, a1_up="SELECT 1")
    (folder / "0002_b.up.sql").unlink()
    (folder / "0002_b.down.sql").unlink()
    assert f"python -m seed migrate apply {at} --allow-down (Pulumi" in typed("apply", code=2)


def test_a_take_over_and_a_repair(typed: Typed, folder: Path) -> None:
    ask(typed.conninfo, "CREATE TABLE a (v vector(3))")
    write(folder, a1_up="CREATE TABLE a (v vector(3))")
    assert f"python -m seed migrate baseline --directory {folder} 0001_a" in typed("apply", code=1)
    assert typed("baseline", "0001_a") == "0001_a recorded, not run: the database already has its effect\n"
    assert typed("baseline", "0001_a") == "Nothing to record: 0001_a is in the ledger.\n"
    write(folder, a1_up="CREATE TABLE a (v vector(3)); -- as it is")
    assert "python -m seed migrate repair" in typed("apply", code=2)
    assert typed("repair", "0001_a") == "0001_a recorded with the text of its files, not run\n"
    assert typed("repair", "0001_a") == "Nothing to repair: the ledger and the files of 0001_a agree.\n"
    assert typed("apply") == "Nothing to run: the database has every migration.\n"


def test_new_files_are_refused_until_they_say_something(typed: Typed, folder: Path) -> None:
    write(folder, a1_up="SELECT 1")
    assert typed("new", "Add  a-label").splitlines() == [
        str(folder / "0002_add_a_label.up.sql"),
        str(folder / "0002_add_a_label.down.sql"),
    ]
    assert "0002_add_a_label.up.sql: no statement in it" in typed("apply", code=2)
    assert typed.data("new", "x")["created"][0].endswith("0003_x.up.sql")
    for name in ("é", "-", "_ -"):
        assert f"got {name!r}" in typed("new", name, code=2)


def test_the_first_files_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert [path.name for path in create(tmp_path / "a" / "b", "x")] == ["0001_x.up.sql", "0001_x.down.sql"]
    (tmp_path / "9999_z.up.sql").touch()
    with pytest.raises(InputError, match="end at 9999"):
        create(tmp_path, "x")


def test_lint_tells_what_would_lock_a_table(typed: Typed, folder: Path) -> None:
    write(
        folder,
        a1_up="CREATE TABLE a (v vector(3))",
        b2_up="SELECT 1;\nCREATE INDEX i ON a USING hnsw (v vector_l2_ops)",
    )
    write(folder, c3_up=MARK + "CREATE INDEX CONCURRENTLY j ON a USING hnsw (v vector_l2_ops)")
    output = typed("lint", code=1)
    assert "0002_b.up.sql, line 2: " in output
    assert "require-concurrent-index-creation" in output
    assert [finding["line"] for finding in typed.data("lint", code=1)["findings"]] == [2]
    assert typed("lint", "0001_a", "0003_c") == "No findings.\n"
    assert "unknown migrations: 0009_x" in typed("lint", "0009_x", code=2)
    assert "pip install squawk-cli" in without_squawk(folder)


def without_squawk(folder: Path) -> str:
    """Return the output of lint with another Python and an empty PATH, where it finds no squawk."""
    script = (
        "import sys; from pgvector_seed.common.console import run; sys.executable = '/nowhere/python'; run('seed.cli')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "migrate", "lint", "--directory", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["apply", "--lock-timeout", "5"],
        ["apply", "--schema", ""],
        ["apply", "--schema", "x" * 64],
        ["apply", "--schema", "pg_catalog"],
        ["apply", "--schema", "pgvector_seed"],
        ["down"],
        ["baseline"],
        ["nonsense"],
    ],
)
def test_bad_usage(typed: Typed, words: list[str]) -> None:
    assert "Error" in typed(*words, code=2)


def test_a_server_that_cannot_be_reached(typed: Typed, folder: Path) -> None:
    write(folder, a1_up="SELECT 1")
    assert "Check PGHOST" in typed("status", code=3, PGPORT="1")


def test_a_schema_of_its_own(typed: Typed, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))")
    typed("apply", "--schema", "my schema")
    assert typed("apply") == "Nothing to run: the database has every migration.\n"
    assert "--schema 'my schema'" in typed("apply", "--schema", "public", code=2)
    assert ask(typed.conninfo, "SELECT to_regclass('\"my schema\".a') IS NOT NULL") == [(True,)]


def test_what_a_failure_prints_is_ours_alone(typed: Typed, folder: Path) -> None:
    """The driver's own errors for the statements behind the failed one are not shown."""
    write(folder, a1_up="SELECT 1 / 0;\n" * 3)
    assert typed("apply", code=1).splitlines() == [
        "error: 0001_a.up.sql, line 1: division by zero (SQLSTATE 22012)",
        "  Fix the file and run the same command again: the migrations before it are recorded.",
    ]


def test_the_docs_have_every_command_and_every_key() -> None:
    """The documentation names each command, and each key of the configuration."""
    page = (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"^\| `{name}[ `]", page, re.MULTILINE), name
    configuration = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for key in (*KEYS, "roles", "tables"):
        assert re.search(rf"^\|[^|]*`{key}`[^|]*\|", configuration, re.MULTILINE), key


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_each_help_runs(name: str, new_database: Callable[..., str], tmp_path: Path) -> None:
    """Each example runs on the article's database, in the state that it is meant for."""
    example = re.search(
        r"Example: python -m seed (migrate .+)", CliRunner().invoke(cli, [name, "--help"], terminal_width=200).output
    )
    assert example is not None
    project = tmp_path / "project"
    project.mkdir()
    for shared in ("migrations", "pgvector_seed", "seed", "pyproject.toml", ".squawk.toml"):
        (project / shared).symlink_to(ROOT / shared)
    if name == "new":
        (project / "migrations").unlink()
    database = new_database()
    if name in ("status", "down", "repair"):
        run(database, ROOT / "migrations")
    if name == "baseline":
        ask(database, (ROOT / "migrations" / "0001_create_embeddings.up.sql").read_text())
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m seed {example[1]}"],
        cwd=project,
        env={**os.environ, **pg_variables(database)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_interrupt_while_it_starts_is_quiet(typed: Typed, folder: Path) -> None:
    """A Ctrl-C during imports or the connection shows no traceback with frames of ours."""
    write(folder, a1_up="SELECT pg_sleep(60)")
    dice = random.Random(2)
    for _ in range(tries(5, soak=50)):
        with applier(typed.conninfo, folder) as process:
            time.sleep(dice.uniform(0, 0.6))  # the moment is the subject of the test
            process.send_signal(signal.SIGINT)
            output = process.communicate()[0]
        assert str(ROOT / "pgvector_seed") not in output, output
