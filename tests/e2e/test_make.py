"""The make targets in a fresh clone, in the order in which a newcomer types them.

The tests of this file are one story: each begins in the state that the previous one left, because the packages are
installed once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.server import Server
from tests.conftest import ask, own_conninfo, until
from tests.e2e.conftest import readme_block, run, start
from tests.thief import Thief, thief

STANDALONE = {"ENGINE": "standalone"}
VARIABLE = [
    (re.compile(r"\n +run as nobody: other programs of that user can change it"), ""),  # root is told
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"installed into \.venv in [\d.]+ s"), "installed into .venv in N s"),
    (re.compile(r"applied in [\d.]+ s"), "applied in N s"),
    (re.compile(r'"port": \d+'), '"port": PORT'),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), "UUID"),
]


def make(clone: Path, *words: str, code: int = 0, **settings: str) -> str:
    done = run(["make", "--no-print-directory", *words], clone, **{**STANDALONE, **settings})
    assert done.returncode == code, done.stdout
    return done.stdout


def steady(text: str) -> list[str]:
    """Return the lines, with the parts that differ from run to run replaced."""
    for pattern, name in VARIABLE:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_first_up_prints_what_the_docs_show(clone: Path) -> None:
    """The output is that of docs/make.md, and the server of a stray PGHOST is not even connected to."""
    output = make(clone, "up", PGHOST="192.0.2.1", PGPASSWORD="stray", PGSERVICE="stray")
    assert steady(output) == steady(readme_block("make up", "docs/make.md"))


def test_a_second_up_changes_nothing(clone: Path) -> None:
    """A second up finds everything unchanged, also under PYTHONSAFEPATH."""
    output = make(clone, "up", PYTHONSAFEPATH="1")
    assert "2 unchanged" in output
    assert "applied in" not in output
    assert "Packages" not in output
    assert "All 7 answers are the article's." in output


def test_the_checkout_stays_clean(clone: Path) -> None:
    assert run(["git", "status", "--porcelain"], clone).stdout == ""


def test_preview_of_a_new_migration(clone: Path) -> None:
    new = clone / "migrations" / "0002_more.up.sql"
    new.write_text("CREATE TABLE more ()")
    output = make(clone, "preview")
    new.unlink()
    assert "apply 0002_more" in output
    assert "~ 1 to update" in output


def test_preview_of_changed_settings(clone: Path) -> None:
    """Regression: only "1 to update" was printed, also for a setting that was lost by mistake."""
    config = clone / "Pulumi.dev.yaml"
    before = config.read_text()
    config.write_text(before.replace("onDestroy: revert", "onDestroy: retain").replace("metric: l2", "metric: cosine"))
    output = make(clone, "preview")
    config.write_text(before)
    assert "onDestroy: revert -> retain" in output
    assert "tables.embeddings.metric: l2 -> cosine" in output
    assert "~ 1 to update" in output


def test_the_documented_way_to_change_the_table(clone: Path) -> None:
    output = run(["bash", "-euc", readme_block("run: migration", "docs/migrations.md")], clone, **STANDALONE).stdout
    assert "apply 0002_add_label" in output
    assert "0002_add_label applied in" in output
    assert "All 7 answers are the article's." in output


def test_the_documented_check_on_a_laptop(clone: Path) -> None:
    done = run(["bash", "-euc", readme_block("run: on a laptop", "docs/verify.md")], clone)
    assert done.returncode == 0, done.stdout
    assert '"right": true' in done.stdout
    assert "checks: " in done.stdout


def test_verify_holds_the_database_against_its_promise(clone: Path) -> None:
    """A database that was just deployed and filled passes; a missing row fails."""
    assert "checks: 11 passed, 4 not declared" in make(clone, "verify")
    lose = "import psycopg; psycopg.connect('', autocommit=True).execute('DELETE FROM embeddings WHERE id = 3')"
    assert run(["bash", "-euc", f'eval "$(make -s env)"; python -c "{lose}"'], clone).returncode == 0
    assert "fail  rows        public.embeddings  2 rows" in make(clone, "verify", code=2)
    make(clone, "seed")


def test_a_failing_migration_ends_up_with_its_line(clone: Path) -> None:
    new = clone / "migrations" / "0003_bad.up.sql"
    new.write_text("SELECT 1;\nSELECT nope;")
    output = make(clone, "up", code=2)
    new.unlink()
    assert "error: 0003_bad.up.sql, line 2" in output
    assert "Traceback" not in output


def test_env_is_all_that_plain_commands_need(clone: Path) -> None:
    output = run(["sh", "-c", 'eval "$(make -s env)" && python -m seed sample --json'], clone, PGHOST="192.0.2.1")
    assert '"right": true' in output.stdout, output.stdout
    printed = run(["make", "-s", "env"], clone).stdout
    folder = clone / ".local" / "18"
    assert (folder / "passphrase").read_text() not in printed
    assert (folder / "pgpass").read_text().strip().split(":")[4] not in printed


OURS = [
    'psql -c "SELECT 1"',
    'psql -c "SELECT 1" | cat',
    "python -m seed sample",
    "python -m seed verify",
    "python -m seed migrate status",
    "python -m seed migrate plan",
    "python -m seed migrate apply",
]


DESTROY = "destroy --yes --skip-preview"
PLANT = "ALTER SCHEMA pgvector_seed OWNER TO {0}; ALTER TABLE pgvector_seed.migrations OWNER TO {0}"


def test_make_does_not_act_as_an_owner_that_nobody_named(clone: Path) -> None:
    """Regression: a role that had planted a ledger on this server had its code run as the superuser."""
    own = own_conninfo(Server(clone / ".local" / "18", 18))
    ask(own, f"CREATE ROLE analyst LOGIN; {PLANT.format('analyst')}")
    for target in ("seed", "verify"):
        refused = make(clone, target, code=2)
        assert "belongs to analyst, which is not the owner that the stack names" in refused
        assert "pulumi config set --path roles.owner analyst" in refused
    ask(own, f"{PLANT.format('postgres')}; DROP ROLE analyst")
    make(clone, "seed")


@pytest.mark.parametrize("shell", [name for name in ("sh", "dash", "bash", "zsh") if shutil.which(name)])
def test_psql_in_a_shell_of_make_env(clone: Path, shell: str) -> None:
    """Only psql on make's server is held to SCRAM; PGREQUIREAUTH, which the provider rejects, is not exported."""
    script = (
        'eval "$(make -s env)"; psql -XAtc "SELECT 6 * 7" | cat; env | grep PGREQUIREAUTH || echo clean\n'
        'PGPORT=1 psql -c "SELECT 1" 2>&1 || echo other'
    )
    output = run([shell, "-uc", script], clone).stdout
    assert output.splitlines()[:2] == ["42", "clean"], output
    assert output.splitlines()[-1] == "other", output


@pytest.mark.parametrize("command", OURS)
def test_a_program_on_the_port_of_a_stopped_server_is_told_no_password(clone: Path, command: str) -> None:
    """Regression: each of these commands sent the superuser's password in clear."""
    with stopped(clone) as its:
        output = run(["sh", "-c", f'eval "$(make -s env)"; {command}'], clone).stdout
    assert its.asked, output
    assert its.heard == []
    if command.startswith("python"):
        assert "Run: make up" in output


@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize("verb", ["preview", "up --yes --skip-preview", DESTROY])
def test_nor_is_it_by_pulumi(clone: Path, verb: str) -> None:
    """Our own connection fails first, before the provider creates or drops anything."""
    for deployed in (True, False):
        make(clone, "up", ENGINE="pulumi")
        if not deployed:
            make(clone, "destroy", YES="1", ENGINE="pulumi")
        with stopped(clone) as its:
            output = run(["sh", "-c", f'eval "$(make -s env)"; pulumi {verb}'], clone).stdout
        assert its.asked or (verb == DESTROY and not deployed), output  # destroyed already: nobody is asked
        assert its.heard == [], output
    make(clone, "up")


@contextmanager
def stopped(clone: Path) -> Iterator[Thief]:
    """Stop the server, and yield the record of another program on its port; start the server again at the end."""
    make(clone, "stop")
    with thief(int((clone / ".local" / "18" / "port").read_text())) as its:
        yield its
    make(clone, "up")


def test_a_stack_with_another_resource_is_refused_with_its_name(clone: Path) -> None:
    """The stand-alone engine refuses the stack before it touches the database."""
    program = clone / "__main__.py"
    before = program.read_text()
    program.write_text(
        "import pulumi_postgresql as postgresql\n"
        + before.replace("pulumi.export", 'postgresql.Role("reader")\n\npulumi.export', 1)
    )
    output = make(clone, "up", code=2)
    program.write_text(before)
    assert "reader (postgresql:index/role:Role) needs Pulumi's engine" in output


def test_a_missing_engine_is_told_in_one_line(clone: Path) -> None:
    """Without the CLI, and offline, make falls back to the stand-alone engine and says why in one line."""
    bare = os.pathsep.join(
        path for path in os.environ["PATH"].split(os.pathsep) if not (Path(path) / "pulumi").exists()
    )
    offline: dict[str, Any] = {"PATH": bare, "https_proxy": "http://127.0.0.1:1"}
    output = make(clone, "preview", ENGINE="auto", **offline)
    assert (
        len(
            [
                line
                for line in output.splitlines()
                if line.startswith("Engine     stand-alone: the CLI cannot be installed")
            ]
        )
        == 1
    )
    assert "2 unchanged" in output
    assert "no Pulumi engine" in make(clone, "preview", ENGINE="pulumi", code=2, **offline)


def test_a_stray_variable_is_refused(clone: Path) -> None:
    assert "DATABASE must be one of own, env; got 'mydb'" in make(clone, "up", DATABASE="mydb", code=2)


def test_the_database_of_the_environment(clone: Path) -> None:
    """DATABASE=env provisions the server of the PG* variables, here make's own PostgreSQL 16."""
    assert "this folder's own PostgreSQL 16" in make(clone, "up", "PG=16")
    folder = clone / ".local" / "16"
    settings: dict[str, Any] = {
        "PGHOST": "127.0.0.1",
        "PGPORT": (folder / "port").read_text().strip(),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "PGPASSFILE": str(folder / "pgpass"),
    }
    output = make(clone, "up", DATABASE="env", **settings)
    assert output.splitlines()[0].startswith("Server     yours, of DATABASE=env: PGHOST=127.0.0.1")
    assert "2 unchanged" in output


@pytest.mark.parametrize("moment", [0.6, *(pytest.param(moment, marks=pytest.mark.rest) for moment in (0.1, 1.1, 1.6))])
def test_an_interrupt_at_any_point_is_made_up_for(clone: Path, moment: float) -> None:
    """An up after a Ctrl-C, which reaches the whole process group, completes the deployment."""
    make(clone, "destroy", YES="1")
    process = start(["make", "up"], clone, **STANDALONE)
    time.sleep(moment)  # the moment is the subject of the test
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate()[0]
    # An interpreter that is still starting has a traceback of its own, before our first line can prevent it.
    assert not re.search(rf'File "{re.escape(str(clone))}/(?!\.venv|local/bootstrap\.py|\w+/__main__\.py)', output), (
        output
    )
    make(clone, "up")
    assert "All 7 answers are the article's." in make(clone, "seed")


@pytest.mark.usefixtures("cli")
def test_both_engines_share_the_ledger(clone: Path) -> None:
    """The engine that comes second finds everything in place."""
    first = make(clone, "up", ENGINE="pulumi")
    assert "applied in" not in first
    assert "7 created" in first
    assert "7 unchanged" in make(clone, "up", ENGINE="pulumi")
    assert run(["git", "diff", "--stat"], clone).stdout == ""
    config = clone / ".local" / "18" / "Pulumi.dev.yaml"
    before = config.read_text()
    config.write_text(before.replace("revert", "retain"))
    refused = make(clone, "destroy", ENGINE="pulumi", YES="1", code=2)
    config.write_text(before)
    assert "destroying obeys the last up, which said revert" in refused
    assert "7 deleted" in make(clone, "destroy", ENGINE="pulumi", YES="1")
    assert "nothing to destroy" in make(clone, "destroy", ENGINE="pulumi")
    assert "2 created" in make(clone, "up")


@pytest.mark.usefixtures("cli")
def test_a_refused_up_does_not_look_as_if_its_outputs_were_removed(clone: Path) -> None:
    """Regression: every up showed the 35 lines of the contract, and a refused one showed them as removed."""
    assert "contract:" not in make(clone, "up", ENGINE="pulumi")
    config = clone / "Pulumi.dev.yaml"
    before = config.read_text()
    config.write_text(before + "  pgvector-seed:on_destroy: revert\n")
    refused = make(clone, "up", ENGINE="pulumi", code=2)
    config.write_text(before)
    assert "on_destroy: no such key" in refused
    assert "Outputs" not in refused
    assert 'To run Pulumi\'s commands: eval "$(make env)"' in refused
    assert '"contract": 1' in make(clone, "contract", ENGINE="pulumi")
    make(clone, "destroy", ENGINE="pulumi", YES="1")
    make(clone, "up")


@pytest.mark.usefixtures("cli")
def test_what_one_engine_did_the_other_finds_out(clone: Path) -> None:
    """Pulumi's state does not hide that the other engine dropped or created the deployment."""
    assert "7 created" in make(clone, "up", ENGINE="pulumi")
    make(clone, "destroy", YES="1")
    assert "4 created" in make(clone, "up", ENGINE="pulumi")
    make(clone, "stop")
    shutil.rmtree((clone / ".local" / "18" / "home").resolve())
    with socket.create_server(("127.0.0.1", int((clone / ".local" / "18" / "port").read_text()))):
        assert "4 created" in make(clone, "up", ENGINE="pulumi"), "a new server, and on another port"
    make(clone, "destroy", ENGINE="pulumi", YES="1")
    make(clone, "up")
    refused = make(clone, "destroy", ENGINE="pulumi", YES="1", code=2)
    assert "a deployment that Pulumi's state does not know" in refused


@pytest.mark.usefixtures("cli")
def test_the_last_up_holds_whichever_engine_it_was(clone: Path) -> None:
    """Pulumi's destroy obeys onDestroy of the last up, even of a stand-alone one."""
    config = clone / ".local" / "18" / "Pulumi.dev.yaml"
    before = config.read_text()
    make(clone, "up", ENGINE="pulumi")
    config.write_text(before.replace("revert", "retain"))
    make(clone, "up")
    config.write_text(before)
    assert "the last up said onDestroy retain" in make(clone, "destroy", ENGINE="pulumi", YES="1", code=2)
    make(clone, "up", ENGINE="pulumi")


@pytest.mark.usefixtures("cli")
def test_what_a_killed_cli_leaves_half_written_is_cleared_away(clone: Path) -> None:
    """Regression: one kill in ten left an empty file at which every later run of the CLI stopped."""
    state = clone / ".local" / "18" / "state" / ".pulumi"
    (state / "stacks" / "pgvector-seed" / "dev.json.attrs").write_text("")
    lock = state / "locks" / "organization" / "pgvector-seed" / "dev" / "x.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("")
    assert "7 unchanged" in make(clone, "up", ENGINE="pulumi")


SLOW = "SELECT pg_sleep(600)"
ASLEEP = f"SELECT count(*) FROM pg_stat_activity WHERE query = '{SLOW}' AND state = 'active'"
LEFT = "is the newest recorded migration, and stays; later work was rolled back. Run the same command again."


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_up_without_an_engine_that_ends_inside_a_migration(clone: Path, sent: signal.Signals) -> None:
    """Regression: the statement ran on with its locks, and no line said what had been recorded."""
    slow = clone / "migrations" / "0003_slow.up.sql"
    slow.write_text(SLOW)
    printed = stop_inside(clone, sent, "standalone")
    slow.unlink()
    assert (f"interrupted: 0002_add_label {LEFT}" in printed) == (sent == signal.SIGINT), printed
    assert "Traceback" not in printed
    make(clone, "up")
    assert "All 7 answers are the article's." in make(clone, "seed")


@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_up_that_ends_inside_a_migration(clone: Path, sent: signal.Signals) -> None:
    """The declaration of an interrupted up does not count.

    Destroy obeys the up before. The next up goes on in spite of the lock and the pending operation that a killed
    CLI leaves, and does not mention them.
    """
    make(clone, "up", ENGINE="pulumi")
    config, slow = clone / ".local" / "18" / "Pulumi.dev.yaml", clone / "migrations" / "0003_slow.up.sql"
    before = config.read_text()
    slow.write_text(SLOW)
    slow.with_name("0003_slow.down.sql").write_text("SELECT 1")
    config.write_text(before.replace("revert", "retain"))
    printed = stop_inside(clone, sent, "pulumi")
    assert (f"interrupted: 0002_add_label {LEFT}" in printed) == (sent == signal.SIGINT), printed
    slow.write_text("SELECT 1")
    refused = make(clone, "destroy", ENGINE="pulumi", YES="1", code=2)
    assert "destroying obeys the last up, which said revert" in refused
    config.write_text(before)
    assert "pending operations" not in make(clone, "up", ENGINE="pulumi")
    assert "All 7 answers are the article's." in make(clone, "seed")
    assert "- 7 deleted" in make(clone, "destroy", ENGINE="pulumi", YES="1")
    slow.unlink()
    slow.with_name("0003_slow.down.sql").unlink()


def stop_inside(clone: Path, sent: signal.Signals, engine: str) -> str:
    """Run make up, signal its group during the slow migration, and wait until the server ends the statement."""
    own = own_conninfo(Server(clone / ".local" / "18", 18))
    process = start(["make", "up"], clone, ENGINE=engine)
    while ask(own, ASLEEP) == [(0,)]:
        assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, sent)
    printed = process.communicate()[0]
    until(lambda: ask(own, ASLEEP) == [(0,)])
    assert process.returncode != 0
    return printed


def test_destroy_asks_or_wants_yes_and_obeys_the_last_up(clone: Path) -> None:
    make(clone, "up")
    assert "YES=1" in make(clone, "destroy", code=2)
    config = clone / ".local" / "18" / "Pulumi.dev.yaml"
    before = config.read_text()
    config.write_text(before.replace("revert", "retain"))
    assert "destroying obeys the last up, which said revert" in make(clone, "destroy", YES="1", code=2)
    config.write_text(before)
    assert "- 2 deleted" in make(clone, "destroy", YES="1")
    assert "nothing to destroy" in make(clone, "destroy", YES="1")


def test_the_server_outlives_make_until_stop(clone: Path) -> None:
    data = str((clone / ".local" / "18" / "home").resolve() / "data")

    def working() -> bool:
        return data in {process.info["cwd"] for process in psutil.process_iter(["cwd"])}

    assert working()
    make(clone, "stop")
    assert not working()
    assert "no server was running" in make(clone, "stop")


@pytest.mark.rest
def test_the_documented_way_to_remove_everything(clone: Path) -> None:
    make(clone, "up")
    home = (clone / ".local" / "18" / "home").resolve()
    output = run(["bash", "-euc", readme_block("run: remove", "docs/make.md")], clone, **STANDALONE, YES="1").stdout
    assert "- 2 deleted" in output, output
    assert not home.exists()
    assert not (clone / ".local").exists()
    assert not (clone / ".venv").exists()
    assert not (clone / ".venv.lock").exists()


def test_help_lists_every_target(clone: Path) -> None:
    output = make(clone, "help")
    phony = re.search(r"^.PHONY: (.*)$", (clone / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert re.findall(r"^  make ([\w-]+) ", output, re.MULTILINE) == phony[1].split()
