"""Files in an object store: S3 as moto's server speaks it. Google's is not tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ask
from tests.data.clusters import scheduler, worker
from tests.data.helpers import Array, load, make_table, same, save, vectors
from tests.data.object_store import BUCKET, CREDENTIALS, SECRET, FailingStore, store, upload
from tests.data.test_formats import WRITERS
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

pytestmark = pytest.mark.newest

ROWS, DIMENSIONS = 20_000, 64  # two blocks


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the address of a store that has a bucket."""
    with store() as http:
        yield http


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Set the credentials, and the endpoint if the test has a store."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    if "address" in request.fixturenames:
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("address"))


def is_numbered(name: str) -> bool:
    return not any(part in name for part in (".jsonl", ".csv", ".parquet"))


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith("fortran") and "hdf5" not in name])
def test_objects_of_every_format(database: str, tmp_path: Path, address: str, name: str) -> None:
    """Objects are loaded as local files are, and a second run changes nothing."""
    make_table(database)
    values = vectors(500)
    words = [upload(address, WRITERS[name](tmp_path / name, values)), "--table", "items"]
    words += ["--number-from", "1"] if is_numbered(name) else []
    assert "500 rows copied" in load(database, *words)
    assert same(database, values)
    assert "500 unchanged" in load(database, *words, "--jobs", "2")


@pytest.mark.rest
def test_workers_read_objects_by_their_own_environment(database: str, tmp_path: Path, address: str) -> None:
    """A Dask worker that cannot reach the store is named, with the object."""
    make_table(database)
    words = [upload(address, save(tmp_path / "v.npy", vectors(5))), "--table", "items", "--number-from", "1"]
    with scheduler(tmp_path) as (dask, _):
        with worker(dask, database, tmp_path, AWS_ENDPOINT_URL="http://127.0.0.1:9"):
            output = load(database, *words, "--dask", dask, code=2)
        with worker(dask, database, tmp_path):
            assert "5 rows copied" in load(database, *words, "--dask", dask)
    assert "error: worker tcp://127.0.0.1:" in output
    assert f"the store of {words[0]} cannot be reached: " in output


def test_the_scheme_in_capitals(database: str, tmp_path: Path, address: str) -> None:
    """Regression: S3:// in capitals was the name of a local file."""
    make_table(database)
    words = [upload(address, save(tmp_path / "v.npy", vectors(5))), "--table", "items", "--number-from", "1"]
    assert "5 rows copied" in load(database, words[0].replace("s3://", "S3://"), *words[1:])


def test_a_pattern_is_every_object_that_it_matches(database: str, tmp_path: Path, address: str) -> None:
    """Objects come in the order of their names, as local files do. The name of an existing object is no pattern."""
    make_table(database)
    for number, key in enumerate(["all/b/2.npy", "all/a/1.npy", "all/1.npy", "all/1.txt", "all/[x].npy"]):
        upload(address, save(tmp_path / f"{number}.npy", np.full((1, 3), number)), key)

    def first_numbers(pattern: str) -> list[int]:
        ask(database, "TRUNCATE items")
        load(database, f"s3://{BUCKET}/{pattern}", "--table", "items", "--number-from", "1")
        rows = ask(database, "SELECT (embedding::real[])[1] FROM items ORDER BY id")
        return [round(number) for (number,) in rows]

    assert first_numbers("all/*/*.npy") == [1, 0]
    assert first_numbers("all/**/?.npy") == [2, 1, 0]
    assert first_numbers("all/*.npy") == [2, 4]
    assert first_numbers("all/[x].npy") == [4]
    for pattern in ("all/none-*.npy", "none/*.npy"):
        output = load(database, f"s3://{BUCKET}/{pattern}", "--table", "items", code=2)
        assert f"no file matches s3://{BUCKET}/{pattern}" in output


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.parquet", "x-*.jsonl"])
def test_a_missing_bucket_is_named(database: str, address: str, name: str) -> None:
    del address
    make_table(database)
    output = load(database, f"s3://nowhere/{name}", "--table", "items", code=2)
    assert output == f"error: there is no bucket nowhere, of s3://nowhere/{name}\n  List them: aws s3 ls\n"


@pytest.mark.parametrize("name", ["x.npy", "x.csv.gz", "x.parquet", "x.fvecs"])
def test_a_missing_object_is_named(database: str, address: str, name: str) -> None:
    del address
    make_table(database)
    output = load(database, f"s3://{BUCKET}/dir/{name}", "--table", "items", code=2)
    assert output == (
        f"error: there is no object s3://{BUCKET}/dir/{name}\n  List what is there: aws s3 ls s3://{BUCKET}/dir/\n"
    )


def test_refused_credentials_are_told_and_not_shown(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with store(INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict)
        for name in ("x.npy", "*.npy"):
            output = load(database, f"s3://{BUCKET}/{name}", "--table", "items", "--number-from", "1", code=2)
            assert f"error: the store refuses to read s3://{BUCKET}/{name}: " in output
            assert "See who asks: aws sts get-caller-identity" in output
            assert SECRET not in output


def test_an_endpoint_that_cannot_be_reached(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    output = load(database, f"s3://{BUCKET}/x.npy", "--table", "items", "--number-from", "1", code=2)
    assert f"error: the store of s3://{BUCKET}/x.npy cannot be reached: " in output
    assert "Check AWS_ENDPOINT_URL and the network. Run the same command again" in output


@pytest.mark.parametrize("name", ["s3://key:secret@bucket/x.npy", "gs://key:secret@bucket/*.npy"])
def test_credentials_in_an_address_are_refused_and_not_shown(database: str, name: str) -> None:
    output = load(database, name, "--table", "items", code=2)
    assert "Credentials: by the environment." in output
    assert "secret" not in output


def test_what_an_object_store_is_not_for(database: str, tmp_path: Path, address: str) -> None:
    """A file is refused if each few bytes would take a request, or its library reads local files alone."""
    make_table(database)
    fortran = upload(address, save(tmp_path / "f.npy", np.asfortranarray(vectors(10))))
    plain = save(tmp_path / "v.npy", vectors(10))
    for words, reason in (
        ([fortran, "--number-from", "1"], "is in Fortran order"),
        ([f"s3://{BUCKET}/x.hdf5"], "the library for HDF5 reads local files alone"),
        ([plain, "--ids", f"s3://{BUCKET}/ids.npy"], "the keys are looked up all the time"),
        ([plain, "--rejects", f"s3://{BUCKET}/bad.jsonl"], "the bad rows can only be written to this machine"),
        (["s3://*/x.npy"], "has a pattern for the name of a bucket"),
        (["s3://vectors"], "names no object"),
        (["s3://vectors/a//x.npy"], "has an empty part"),
        (["s3://vectors//*.npy"], "has an empty part"),
    ):
        assert reason in load(database, *words, "--table", "items", code=2)


def large_groups(path: Path, values: Array) -> str:
    lists = pa.FixedSizeListArray.from_arrays(values.ravel(), DIMENSIONS)
    pq.write_table(pa.table({"id": np.arange(1, ROWS + 1), "embedding": lists}), path, row_group_size=ROWS // 4)
    return str(path)


@pytest.mark.parametrize("name", ["v.npy", "v.fvecs", "v.parquet", "v.jsonl", "v.csv.zst"])
def test_the_store_fails_in_the_middle(
    database: str, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The object is named, whole blocks stay, and a second run ends with exactly its rows."""
    make_table(database, DIMENSIONS)
    values = vectors(ROWS, DIMENSIONS)
    file = (large_groups if name == "v.parquet" else WRITERS[name])(tmp_path / name, values)
    words = [upload(address, file), "--table", "items", *(["--number-from", "1"] if is_numbered(name) else [])]
    with closing(FailingStore(address, int(Path(file).stat().st_size * 0.9))) as failing:
        monkeypatch.setenv("AWS_ENDPOINT_URL", failing.address)
        output = load(database, *words, code=2)
    assert f"error: the store of {words[0]} cannot be reached: " in output
    assert "Run the same command again: what is loaded is left as it is." in output
    assert 0 < ask(database, "SELECT count(*) FROM items")[0][0] < len(values)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    load(database, *words)
    assert same(database, values)
