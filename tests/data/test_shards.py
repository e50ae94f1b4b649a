"""Shards of one load at once: killed, started again, beside a load of the whole. The table has exactly the rows."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import ask, tries, until
from tests.data.helpers import Array, load, make_table, same, save, start, vectors
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

SHARDS, PARTS, ROWS, DIMENSIONS = 4, 8, 16_000, 64
KEY = 10_001  # the first row of a part of shard 1
WAIT = f"""
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
CREATE TRIGGER wait BEFORE INSERT ON items FOR EACH ROW WHEN (NEW.id = {KEY}) EXECUTE FUNCTION wait()
"""
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
WAITING = "SELECT pid FROM pg_locks WHERE relation = 'items'::regclass AND NOT granted"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Array, list[str]]:
    """Return the vectors, and the arguments that load them from eight files, each of which is one part."""
    values, rows = vectors(ROWS, DIMENSIONS), ROWS // PARTS
    for part in range(PARTS):
        save(tmp_path / f"{part}.npy", values[part * rows : (part + 1) * rows])
    return values, [str(tmp_path / "*.npy"), "--table", "items", "--number-from", "1"]


def test_a_killed_shard_is_started_again_beside_a_load_of_the_whole(
    database: str, files: tuple[Array, list[str]]
) -> None:
    """The other shards end while one is killed in the middle of its part. Then two loads race for what is missing."""
    make_table(database, DIMENSIONS)
    ask(database, WAIT)
    shards = [start(database, *files[1], "--shard", f"{shard}/{SHARDS}") for shard in range(SHARDS)]
    until(lambda: ask(database, SLEEPING) or shards[1].poll() is not None)
    shards[1].kill()
    outputs = [shard.communicate()[0] for shard in shards]
    assert [shard.returncode for shard in shards] == [0, -9, 0, 0], outputs
    ask(database, f"SELECT pg_terminate_backend(pid, 60000) FROM ({SLEEPING}) AS it")  # which sees no killed client
    ask(database, "DROP TRIGGER wait ON items")
    assert ask(database, "SELECT count(*) FROM items") == [(ROWS - ROWS // PARTS,)]
    again = [start(database, *files[1], *words) for words in (["--shard", f"1/{SHARDS}"], [])]
    outputs = [load.communicate()[0] for load in again]
    assert [load.returncode for load in again] == [0, 0], outputs
    assert same(database, files[0])


def test_shards_and_a_load_of_the_whole_begin_at_once(database: str, files: tuple[Array, list[str]]) -> None:
    """All find the table empty, and copy the same rows: each row is there once, and nobody is refused."""
    patient = make_conninfo(database, options="-c lock_timeout=60s")
    for _ in range(tries(1, soak=20)):
        ask(database, "DROP TABLE IF EXISTS items")
        make_table(database, DIMENSIONS)
        with psycopg.connect(database) as holder:
            holder.execute("LOCK TABLE items IN SHARE MODE")  # it can be read, and nobody can write
            loads = [start(patient, *files[1], *words) for words in (["--shard", "0/2"], ["--shard", "1/2"], [])]
            until(lambda: len(ask(database, WAITING)) == 3)
        outputs = [load.communicate()[0] for load in loads]
        assert [load.returncode for load in loads] == [0, 0, 0], outputs
        assert same(database, files[0])


def test_another_shard_analyzes_for_longer_than_lock_timeout(database: str, files: tuple[Array, list[str]]) -> None:
    """Regression: a shard that had loaded all of its rows ended with exit code 1."""
    make_table(database, DIMENSIONS)
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE")  # that of ANALYZE
        output = load(make_conninfo(database, options="-c lock_timeout=100ms"), *files[1])
    assert "note: not analyzed: another session has the lock. ANALYZE public.items, or autovacuum" in output
    assert same(database, files[0])
