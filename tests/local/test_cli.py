"""The commands of the make targets, in a copy of the project with a server of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.advice import without_pulumi
from local.server import Server
from tests.conftest import ask, name_of, own_conninfo, remove, until
from tests.e2e.conftest import copy_project, run, start

ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(384));"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the project, and remove its server at the end."""
    folder = copy_project(tmp_path / "copy")
    yield folder
    remove(Server(folder / ".local" / "18", 18))


def local(folder: Path, *words: str, code: int = 0, **settings: str) -> str:
    """Run ``python -m local`` without Pulumi's engine, assert its exit code, and return its output."""
    done = run([sys.executable, "-m", "local", *words], folder, **{"ENGINE": "standalone", **settings})
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def use_own_table(folder: Path) -> None:
    """Replace the article's table by another one, in the migration and in the stack's configuration."""
    (folder / "migrations" / "0001_create_embeddings.up.sql").write_text(ITEMS)
    (folder / "migrations" / "0001_create_embeddings.down.sql").write_text("DROP TABLE items;")
    config = folder / "Pulumi.dev.yaml"
    config.write_text(config.read_text().replace("embeddings:", "items:"))


def assert_fits(output: str) -> None:
    """Assert that no line is longer than 80 columns."""
    assert [line for line in output.splitlines() if len(line) > 80] == []


def test_up_of_a_table_of_the_users(copy: Path) -> None:
    """Regression: `up` ended with 2 after each deployment, for the article's table was missing."""
    use_own_table(copy)
    for _ in range(2):
        output = local(copy, "up")
        assert "Left out: there is no table embeddings. Next: your rows, then make verify\n" in output
        assert_fits(output)
    assert "the column embedding of public.embeddings is missing" in local(copy, "seed", code=2)
    assert "fail  rows" in local(copy, "verify", code=1)
    ask(
        own_conninfo(Server(copy / ".local" / "18", 18)),
        "INSERT INTO items SELECT i, array_fill(i, ARRAY[384])::vector FROM generate_series(1, 3) i",
    )
    assert "fail" not in local(copy, "verify")


def test_seed_0_leaves_the_sample_out_and_contract_prints_the_contract(copy: Path) -> None:
    output = local(copy, "up", SEED="0")
    assert "Seed" not in output
    assert_fits(output)
    assert "Contract   recorded in the database; to see it: make contract\n" in output
    printed = local(copy, "contract")
    document = json.loads(printed[printed.index("{") :])
    assert [table["name"] for table in document["tables"]] == ["public.embeddings"]
    refused = local(copy, "up", SEED="no", code=2)
    assert "SEED must be one of 1, 0; got 'no'" in refused
    assert "As in: make up SEED=1" in refused
    assert ask(own_conninfo(Server(copy / ".local" / "18", 18)), "SELECT count(*) FROM embeddings") == [(0,)]


def test_the_remedy_after_stop_is_make_up(copy: Path) -> None:
    """Regression: PGHOST and PGPORT, which `make env` had set, should be checked."""
    local(copy, "up", SEED="0")
    local(copy, "stop")
    for command in ("verify", "sample", "migrate status"):
        script = f'eval "$({sys.executable} -m local env)"; python -m seed {command}'
        done = run(["bash", "-c", script], copy)
        assert done.returncode == 3
        assert 'The server that make brings is down. Run: make up; eval "$(make env)"' in done.stdout
        assert "Check PGHOST" not in done.stdout


def test_a_shell_of_make_env_runs_the_commands_under_pythonsafepath(copy: Path) -> None:
    """Regression: No module named seed."""
    local(copy, "up", SEED="0")
    script = f'eval "$(env -u PYTHONSAFEPATH {sys.executable} -m local env)"; python -m seed sample'
    assert "All 7 answers" in run(["bash", "-c", script], copy, PYTHONSAFEPATH="1").stdout


def test_destroy_of_nothing_says_so(copy: Path) -> None:
    output = local(copy, "destroy")
    assert "nothing to destroy: this database has no deployment\n" in output
    assert "Destroy the stack" not in output
    local(copy, "up", SEED="0")
    local(copy, "destroy", YES="1")
    assert "nothing to destroy" in local(copy, "destroy")
    assert "this database keeps no contract\n  Run: make up" in local(copy, "contract", code=2)


def test_a_destroy_that_cannot_be_done_is_refused_before_it_asks(copy: Path) -> None:
    """Regression: it asked first, and advised to apply once more, which is no make target."""
    (copy / "migrations" / "0002_more.up.sql").write_text("CREATE TABLE more ();")
    local(copy, "up", SEED="0")
    output = local(copy, "destroy", code=2)
    assert "error: nothing was destroyed: 0002_more has no down" in output
    assert "Destroy the stack" not in output
    remedy = output.partition("has no down\n")[2]
    assert "Write migrations/0002_more.down.sql, and run: make up" in remedy
    (copy / "migrations" / "0002_more.down.sql").write_text("DROP TABLE more;")
    local(copy, "up", SEED="0")
    assert "- 2 deleted" in local(copy, "destroy", YES="1")


def test_a_destroy_without_downs_may_keep_the_data(copy: Path) -> None:
    (copy / "migrations" / "0001_create_embeddings.down.sql").unlink()
    local(copy, "up", SEED="0")
    refused = local(copy, "destroy", YES="1", code=2)
    assert (
        "Or keep the tables: onDestroy: retain in Pulumi.dev.yaml, then make up,\n  and make destroy again" in refused
    )
    assert_fits(refused)
    config = copy / "Pulumi.dev.yaml"
    config.write_text(config.read_text().replace("revert", "retain"))
    local(copy, "up", SEED="0")
    assert "2 retained" in local(copy, "destroy", YES="1")


@pytest.mark.parametrize("answer", ["interrupt", "n", "y", "end"])
def test_the_question_before_destroying(copy: Path, answer: str) -> None:
    """Regression: an interrupt left the cursor behind the question and said nothing of what was destroyed."""
    local(copy, "up", SEED="0")
    code, output = on_terminal([sys.executable, "-m", "local", "destroy"], copy, "[y/N] ", ANSWERS[answer])
    question = output[output.index("Destroy the stack") :]
    assert "Traceback" not in output
    assert_fits(output)
    if answer == "y":
        assert code == 0
        assert "- 2 deleted" in output
    elif answer == "n":
        assert code == 2
        assert "error: nothing was destroyed" in output
    else:
        assert code == (130 if answer == "interrupt" else 2)
        assert "[y/N]" in question
        assert ("\ninterrupted: " if answer == "interrupt" else "\nerror: ") + "nothing was destroyed" in question


ANSWERS = {"interrupt": b"\x03", "n": b"n\n", "y": b"y\n", "end": b"\x04"}


def on_terminal(words: list[str], folder: Path, prompt: str, answer: bytes) -> tuple[int, str]:
    """Run a command on a terminal of its own, type an answer at a prompt, and return its exit code and output.

    It is typed again after 20 silent seconds: Python does not see an interrupt between a prompt and its reading.
    """
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, "ENGINE": "standalone"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that ^C reaches the process group
    )
    printed, silent = b"", 0
    while (readable := bool(select.select([ours], [], [], 1)[0])) or process.poll() is None:
        silent = 0 if readable else silent + 1
        printed += os.read(ours, 4096) if readable else b""
        if (printed.endswith(prompt.encode()) and not silent) or silent == 20:
            os.write(ours, answer)
    os.close(terminal)  # open until here: what is unread at the last close may be lost
    os.close(ours)
    return process.wait(), printed.decode().replace("\r\n", "\n")


def test_what_was_set_in_the_shell_of_make_env_is_told(copy: Path) -> None:
    """Regression: `pulumi config set` wrote to a file that nothing named, and Pulumi.dev.yaml seemed to be ignored."""
    assert "Config" not in local(copy, "up", SEED="0")
    config = copy / ".local" / "18" / "Pulumi.dev.yaml"
    config.write_text(config.read_text() + "  pgvector-seed:allowDown: 'true'\nencryptionsalt: v1:x\n")
    told = "Config     set in .local/18/Pulumi.dev.yaml by pulumi config: allowDown\n"
    output = local(copy, "up", SEED="0")
    assert told in output
    assert_fits(output)
    assert told in local(copy, "preview")


def test_only_a_command_that_changes_something_waits_for_another(copy: Path) -> None:
    """Regression: `make verify` and `make env` waited for a long `make up`, and nothing said for what."""
    local(copy, "up")
    (copy / "migrations" / "0002_slow.up.sql").write_text("SELECT pg_sleep(600)")
    conninfo = own_conninfo(Server(copy / ".local" / "18", 18))
    command = [sys.executable, "-m", "local"]
    settings = {"ENGINE": "standalone", "PYTHONUNBUFFERED": "1"}
    sleeper = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with start([*command, "up"], copy, **settings) as up:
        (pid,) = until(lambda: ask(conninfo, sleeper))[0]
        for word in ("verify", "contract", "env", "seed"):
            with start([*command, word], copy, **settings) as reading:
                output = reading.communicate(timeout=60)[0]
            assert reading.returncode == 0, output
            assert "waiting" not in output
        with start([*command, "preview"], copy, **settings) as waiting:
            assert waiting.stdout
            holder = rf"make up \(process {up.pid}, since \d\d:\d\d:\d\d\)"
            assert re.fullmatch(rf"waiting for {holder} in this folder\n", next(iter(waiting.stdout)))
            ask(conninfo, f"SELECT pg_terminate_backend({pid})")
            assert "apply 0002_slow" in waiting.communicate()[0]
        up.communicate()


def test_stand_alone_no_command_of_pulumi_is_advised(copy: Path) -> None:
    """Regression: `pulumi config rm` was advised to those who have no Pulumi."""
    config = copy / "Pulumi.dev.yaml"
    good = config.read_text()
    for wrong, advice in {
        f"{good}  pgvector-seed:on_destroy: revert\n": "In Pulumi.dev.yaml, remove: on_destroy\n",
        good.replace("onDestroy", "on_destroy"): "In Pulumi.dev.yaml, rename: on_destroy to onDestroy\n",
        f"{good}  pgvector-seed:minimumVersion: x\n": "In Pulumi.dev.yaml, set: minimumVersion: 0.8.4",
    }.items():
        config.write_text(wrong)
        for verb in ("preview", "up"):
            output = local(copy, verb, code=2)
            assert advice in output, output
            assert "pulumi config" not in output
    config.write_text(good.replace("embeddings:", "nosuch:"))
    refused = local(copy, "up", code=2)
    assert "pulumi" not in refused.partition("error:")[2]


@pytest.mark.parametrize(
    ("advice", "instead"),
    [
        (
            "Add the migration, or run: pulumi config rm --path 'tables[\"a\"]'; pulumi up",
            "Add the migration, or in Pulumi.dev.yaml, remove: 'tables[\"a\"]'; make up",
        ),
        ("Set PGHOST (Pulumi: pulumi config set host; pulumi config set port) to", "Set PGHOST to"),
        ("Run: pulumi config set --secret password", "In Pulumi.dev.yaml, remove: password; set PGPASSFILE instead"),
        ("Run: pulumi config set lockTimeout 5s", "In Pulumi.dev.yaml, set: lockTimeout: 5s"),
        (
            "pulumi config rm --path 'a.recall'; pulumi config set --path 'a.recall.k' 10",
            "in Pulumi.dev.yaml, set: 'a.recall.k': 10",
        ),
        (
            "Run: pulumi config rm --path 'a.metrics'; pulumi config set --path 'a.metric'",
            "In Pulumi.dev.yaml, rename: 'a.metrics' to 'a.metric'",
        ),
        ("pulumi config set --path 'a.minimum' --type float 0.9", "in Pulumi.dev.yaml, set: 'a.minimum': 0.9"),
    ],
)
def test_the_commands_of_pulumi_are_replaced(advice: str, instead: str) -> None:
    assert without_pulumi(advice) == instead


def test_the_readers_settings_without_the_engine(copy: Path) -> None:
    """They follow the stack file, are shown in a preview, compared by verify, mended, and removed with their key."""
    config = copy / "Pulumi.dev.yaml"
    before = config.read_text()
    local(copy, "up")
    database = own_conninfo(Server(copy / ".local" / "18", 18))
    stored = "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase AND setrole = 0"
    ask(database, f"ALTER DATABASE {name_of(database)} SET work_mem = '8MB'")

    config.write_text(before + "  pgvector-seed:readerSettings: {hnsw.ef_search: 100, jit: false}\n")
    shown = local(copy, "preview")
    assert "ReaderSettings database-reader-settings create" in shown
    assert "readerSettings.hnsw.ef_search: not set -> 100" in shown
    assert "1 created" in local(copy, "up")
    assert ask(database, stored) == [(["work_mem=8MB", "hnsw.ef_search=100", "jit=off"],)]
    assert "3 unchanged" in local(copy, "up")

    ask(database, f"ALTER DATABASE {name_of(database)} RESET jit")
    assert "jit is not set for all sessions" in local(copy, "verify", code=1).replace("\n", " ")
    assert "ReaderSettings database-reader-settings update" in local(copy, "up")
    assert "fail" not in local(copy, "verify")

    config.write_text(before)
    shown = local(copy, "preview")
    assert "ReaderSettings database-reader-settings update" in shown
    assert "readerSettings.jit: false -> not set" in shown
    local(copy, "up")
    assert ask(database, stored) == [(["work_mem=8MB"],)]
    assert "2 unchanged" in local(copy, "up")

    config.write_text(before + "  pgvector-seed:readerSettings: {hnsw.ef_search: 100}\n")
    local(copy, "up")
    local(copy, "destroy", YES="1")
    assert ask(database, stored) == [(["work_mem=8MB"],)]
