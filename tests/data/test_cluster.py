"""``load --dask``: what a cluster loads, and the faults that it survives. All processes are real."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from click import UsageError
from distributed import Client
from psycopg.conninfo import conninfo_to_dict

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.version import VERSION
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.block import RowFault
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.load import load_files
from pgvector_seed.data.rejects import GatheredRejects
from pgvector_seed.data.summary import Work
from pgvector_seed.data.task import load_on_worker
from pgvector_seed.data.worker_checks import Job, task_of
from seed.load.work import refuse_with_dask
from tests.conftest import ask, pg_variables, tries, until
from tests.data.clusters import scheduler, worker
from tests.data.helpers import Array, load, make_table, same, save, start, vectors, write_jsonl, write_shuffled
from tests.data.test_load_faults import HAS_ROWS, SLEEPING, SLOW, wait_for
from tests.e2e.conftest import readme_block, run
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

ROWS, DIMENSIONS = 40_000, 32
NUMBERED = ["--table", "items", "--number-from", "1"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler without workers."""
    with scheduler(tmp_path_factory.mktemp("scheduler")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, list[str]]:
    """Return the vectors in the order of their ids, and the arguments that load them shuffled, from 20 files."""
    values = vectors(ROWS, DIMENSIONS)
    return values, [*write_shuffled(tmp_path_factory.mktemp("files"), values, 20), "--table", "items"]


def test_two_workers_load(database: str, address: str, tmp_path: Path, files: tuple[Array, list[str]]) -> None:
    """The summary names the workers, and a load of a shard at the same time does no harm.

    A bad row is the same error as in one process, or comes back to the file of --rejects.
    """
    make_table(database, DIMENSIONS)
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"id": ROWS + n, "embedding": [n] * (32 - n % 2)} for n in (2, 3, 4)])
    with worker(address, database, tmp_path), worker(address, database, tmp_path):
        output = load(database, *files[1], "--dask", address)
        assert f"{ROWS:,} rows copied, 0 changed, 0 unchanged" in output
        assert "rows/s, by 2 workers" in output
        assert same(database, files[0])
        ask(database, "DELETE FROM items WHERE id % 3 = 0")
        loaders = [start(database, *files[1], *words) for words in (["--dask", address], ["--shard", "0/2"])]
        outputs = [loader.communicate()[0] for loader in loaders]
        assert [loader.returncode for loader in loaders] == [0, 0], outputs
        assert same(database, files[0])
        output = load(database, *files[1], "--dask", address, "--shard", "1/2", "--json")
        document = json.loads(output[output.index("{") :])  # a slow machine prints progress before
        assert (document["unchanged"], document["workers"]) == (ROWS / 2, 2)
        in_one_process = load(database, bad, "--table", "items", code=2)
        assert load(database, bad, "--table", "items", "--dask", address, code=2) == in_one_process
        load(database, bad, "--table", "items", "--dask", address, "--rejects", str(tmp_path / "rejects"), code=1)
        rejected = [json.loads(line)["rejected"] for line in (tmp_path / "rejects").read_text().splitlines()]
        assert [(reject["file"], reject["row"]) for reject in rejected] == [(bad, 2)]


def test_a_worker_is_killed(database: str, address: str, tmp_path: Path, files: tuple[Array, list[str]]) -> None:
    """The other workers load the parts of a killed one: the table has exactly the rows of the files."""
    dice, killed = random.Random(1), 0
    for _ in range(tries(1, soak=20)):
        ask(database, "DROP TABLE IF EXISTS items")
        make_table(database, DIMENSIONS)
        with (
            worker(address, database, tmp_path),
            worker(address, database, tmp_path) as victim,
            start(database, *files[1], "--dask", address) as process,
        ):
            wait_for(database, HAS_ROWS.format(dice.randrange(ROWS // 2)), process)
            victim.kill()
            killed += ask(database, "SELECT count(*) FROM items")[0][0] < ROWS
            output = process.communicate()[0]
        assert process.returncode == 0, output
        assert same(database, files[0])
    assert killed, "no kill was in the middle"


def test_a_worker_of_another_version_is_refused(database: str, address: str, tmp_path: Path) -> None:
    """A worker of another version, or without the package, is named before any part is loaded; a late one by itself."""
    make_table(database)
    words = [save(tmp_path / "v.npy", vectors(10)), *NUMBERED, "--dask", address]
    common = tmp_path / "old" / "pgvector_seed" / "common"
    common.mkdir(parents=True)
    (common / "version.py").write_text("VERSION = '0.0.9'")
    with worker(address, database, tmp_path):
        with worker(address, database, tmp_path, cwd=tmp_path / "old", PYTHONPATH=""):
            assert "has pgvector_seed 0.0.9, and this is " in load(database, *words, code=2)
        with worker(address, database, tmp_path, cwd=tmp_path, PYTHONPATH=""):
            output = load(database, *words, code=2)
        assert "error: worker tcp://127.0.0.1:" in output
        assert "has no pgvector_seed, and this is" in output
        assert ask(database, "SELECT count(*) FROM items") == [(0,)]
        with Client(address, set_as_default=False) as client:
            job = Job("a job", LoadOptions("items", number_from=1), ("", 0, 0), True, False, version="0.0.8")
            error = client.submit(load_on_worker, job, task_of(Unit(words[0], 0, 10))).result().error
    assert "worker tcp://127.0.0.1:" in str(error)
    assert f"version {VERSION} there, and 0.0.8 here" in str(error)


def test_a_worker_that_reaches_other_things(new_database: Callable[..., str], address: str, tmp_path: Path) -> None:
    """No password comes with a part. Another database of the same content, a missing and another file are refused."""
    database = new_database()
    make_table(database)
    copy = new_database(template=conninfo_to_dict(database)["dbname"])
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    save(here / "v.npy", vectors(10))
    words = ["/proc/self/cwd/v.npy", *NUMBERED, "--dask", address]

    def refusal(code: int) -> str:
        with start(database, *words, cwd=here, PYTHONPATH=str(ROOT)) as process:
            output = process.communicate()[0]
        assert (process.returncode, "Traceback" in output) == (code, False), output
        assert "error: worker tcp://127.0.0.1:" in output
        return output

    place: Any = {"cwd": elsewhere, "PYTHONPATH": str(ROOT)}
    with worker(address, database, tmp_path, **place, PGPASSWORD=""):
        assert "no password supplied" in refusal(3)
    with worker(address, copy, tmp_path, **place):
        assert "it reaches another server or table: public.items in the database odd-name" in refusal(2)
    with worker(address, database, tmp_path, **place):
        assert "/proc/self/cwd/v.npy: No such file or directory" in refusal(2)
        save(elsewhere / "v.npy", vectors(9))
        assert "/proc/self/cwd/v.npy is another file there: 236 bytes, and 248 here" in refusal(2)
    assert ask(database, "SELECT count(*) FROM items") == [(0,)]


def test_no_scheduler_and_no_worker(database: str, address: str, tmp_path: Path) -> None:
    make_table(database)
    words = [save(tmp_path / "v.npy", vectors(10)), *NUMBERED, "--dask"]
    silent = socket.create_server(("127.0.0.1", 0))
    mute = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
    reasons = {
        mute: f"error: no Dask scheduler answers at {mute}: it did not speak for 11 s\n",
        "tcp://127.0.0.1:1": "error: no Dask scheduler answers at tcp://127.0.0.1:1: ",
        "tls://127.0.0.1:1": "error: no Dask scheduler answers at tls://127.0.0.1:1: TLS expects ",
        "nonsense://": "error: no Dask scheduler answers at nonsense://: unknown address scheme 'nonsense'",
        address: f"error: the scheduler at {address} has no workers\n  Start one: dask worker {address}\n",
    }
    with silent:
        loaders = {start(database, *words, name): reason for name, reason in reasons.items()}
        outputs = [loader.communicate()[0] for loader in loaders]
    for (loader, reason), output in zip(loaders.items(), outputs, strict=True):
        assert (loader.returncode, "Traceback" in output) == (2, False), output
        assert reason in output


def test_the_scheduler_is_killed(database: str, address: str, tmp_path: Path, files: tuple[Array, list[str]]) -> None:
    """A load says that its scheduler was lost. The next, by another one, ends with exactly the rows of the files."""
    make_table(database, DIMENSIONS)
    with (
        scheduler(tmp_path) as (mortal, process),
        worker(mortal, database, tmp_path),
        start(database, *files[1], "--dask", mortal) as loader,
    ):
        wait_for(database, HAS_ROWS.format(0), loader)
        process.kill()
        output = loader.communicate()[0]
    assert loader.returncode == 1, output
    assert "error: the connection to Dask's scheduler was lost\n  Run the same command again: " in output
    assert "Traceback" not in output
    with worker(address, database, tmp_path):
        load(database, *files[1], "--dask", address)
    assert same(database, files[0])


KILLER = """
import os, sys
sys.addaudithook(lambda event, arguments: event == "open" and str(arguments[0]).endswith("killer.npy") and os._exit(9))
"""


def test_a_part_that_always_ends_its_worker(database: str, address: str, tmp_path: Path) -> None:
    """A part that kills its workers is named, and the other parts are loaded."""
    make_table(database)
    for name in ("a", "killer", "z"):
        save(tmp_path / f"{name}.npy", vectors(10))
    words = [str(tmp_path / "[akz]*.npy"), *NUMBERED, "--dask", address]
    with worker(address, database, tmp_path, "--nanny", "--preload", KILLER):
        output = load(database, *words, code=1)
    assert f"1 part of the files ended each worker that loaded it: {tmp_path}/killer.npy, rows 1 to 10" in output
    assert ask(database, "SELECT min(id), max(id), count(*) FROM items") == [(1, 30, 20)]


def speaking_first(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Return the connections on which a server speaks first: Dask without TLS does, and then runs what it is sent."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(address)) for address in addresses]
        return select.select(sockets, [], [], 1)[0]


@pytest.mark.parametrize("local", [True, False])
def test_ctrl_c(database: str, address: str, tmp_path: Path, *, local: bool) -> None:
    """Ctrl-C cancels what runs, and no part begins afterwards. Local workers listen on this machine alone, and end."""
    make_table(database)
    ask(database, SLOW)
    values = vectors(800)
    for part in range(8):
        save(tmp_path / f"{part}.npy", values[part * 100 :][:100])
    words = [str(tmp_path / "*.npy"), *NUMBERED, "--dask", "local" if local else address]
    with ExitStack() as stack:
        for _ in range(0 if local else 2):
            stack.enter_context(worker(address, database, tmp_path))
        with start(database, *words, start_new_session=True) as process:
            until(lambda: len(ask(database, SLEEPING)) == 2 or process.poll() is not None)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            listening = [each.laddr for one in family for each in one.net_connections() if each.status == "LISTEN"]
            talking = speaking_first(listening) if local else []
            os.killpg(process.pid, signal.SIGINT)
            output = process.communicate(timeout=60)[0]
        assert (process.returncode, "Traceback" in output) == (130, False), output
        assert ask(database, SLEEPING) == []
        count = ask(database, "SELECT count(*) FROM items")[0][0]
        assert "interrupted: at least 400 rows are in the table. Run the same command again." in output
        assert count == 400
        if local:
            assert {address.ip for address in listening} == {"127.0.0.1"}
            assert talking == []
            until(lambda: all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in family))
        ask(database, "DROP TRIGGER wait ON items")
        assert "400 rows copied, 0 changed, 400 unchanged" in load(database, *words)
    assert same(database, values)


def test_what_dask_cannot_do(database: str, tmp_path: Path) -> None:
    """Options that do not go with Dask are refused before it is connected. A worker keeps at most 64 MB of bad rows."""
    for files, address, jobs, dry_run, reason in (
        (["v.npy"], "tcp://h:1", 2, False, "--jobs cannot be given with the address of a cluster"),
        (["v.npy"], "local", 2, True, "--dry-run reads the files on this machine"),
        (["-"], "local", None, False, "Standard input cannot be read by Dask's workers"),
    ):
        with pytest.raises(UsageError, match=reason):
            refuse_with_dask(files, address, jobs, dry_run=dry_run)
    with pytest.raises(InputError, match="row 7: the bad rows of one part have more than 64 MB"):
        GatheredRejects().add([RowFault("v.csv", 7, "too long", {"title": "x" * (65 << 20)})])
    ask(database, "CREATE TABLE items (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, embedding vector(3))")
    with pytest.raises(InputError, match="No --jobs, no --shard, no --dask"):
        load_files([save(tmp_path / "v.npy", vectors(2))], LoadOptions("items"), work=Work(dask="x"), conninfo=database)


@pytest.mark.rest
def test_the_documented_cluster(database: str, tmp_path: Path, files: tuple[Array, list[str]]) -> None:
    """The commands of docs/load.md work as pasted, in a checkout, with another port."""
    make_table(database, DIMENSIONS)
    for name in ("pgvector_seed", "seed"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "vectors").symlink_to(Path(files[1][0]).parent)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    commands = readme_block("run: dask", "docs/load.md").replace("8786", port)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run(["bash", "-euc", commands], tmp_path, **pg_variables(database), PATH=path)
    assert done.returncode == 0, done.stdout
    assert same(database, files[0])
