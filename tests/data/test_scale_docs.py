"""The figures of docs/scale.md, and its ways to start shards: as the schedulers do, without them.

Its Citus and Spark are not run here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import psycopg
import pytest
import yaml
from psycopg.conninfo import make_conninfo

from local.workspace import ROOT
from pgvector_seed.vectors.index.memory import _MOST, estimate_memory
from pgvector_seed.vectors.index.rows import bytes_of
from tests.conftest import SOAK, Process, pg_variables
from tests.data.helpers import Array, make_table, same, vectors, write_parquet
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone

pytestmark = pytest.mark.newest

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- (?:run: )?(\w+) -->\n```\w+\n(.*?)```", PAGE, re.S))
TYPES = {"`vector`": "vector", "`halfvec`": "halfvec", "`bits: true`": "bit"}
SIZES = {"B": 1, "GB": 1e9, "TB": 1e12, "MB/s": 1e6, "h": 1, "parts": 1, "million": 1e6}
SHARED, BUCKET = "/shared/items/*.parquet", "s3://bucket/items/*.parquet"
SERVICE_FILE = "/connection/pg_service.conf"
N = 16  # the shards of the page


def rounded(value: float, shown: str) -> str:
    """Return the value in the unit and with the decimals of a cell of the page."""
    number, unit = shown.removeprefix("about ").split(" ")
    return f"{value / SIZES[unit]:,.{len(number.partition('.')[2])}f} {unit}"


def memory(rows: int, type_: str, dimensions: int) -> float:
    estimate = estimate_memory("hnsw", rows, bytes_of(type_, dimensions), {})
    assert estimate is not None
    return estimate


def test_the_table_of_the_memory_is_the_estimate_of_index_build() -> None:
    lines = re.findall(r"^\| ([\d,]*) ?\| (`[a-z: ]+`) \| (\S+ .B) \| (\S+ .B) \| (\S+ .B) \|$", PAGE, re.M)
    assert len(lines) == 15
    rows = 0
    for count, index, *cells in lines:
        rows = int(count.replace(",", "")) if count else rows
        for dimensions, cell in zip((384, 768, 1536), cells, strict=True):
            assert cell == rounded(memory(rows, TYPES[index], dimensions), cell), (rows, index, dimensions)
    most = [f"{_MOST / (memory(10**9, type_, 768) / 10**9) / 1e6:.0f} million" for type_ in ("vector", "halfvec")]
    assert [f"{_MOST / 1e12:.1f} TB", *most] == re.findall(r"[\d.]+ TB(?=,\sthe largest)|\d+ million(?=\s`)", PAGE)


def test_the_size_of_a_row_is_the_server_s(database: str) -> None:
    """A row with its key, in the table, its TOAST table and the index of the primary key; and rows on a page."""
    sizes = {}
    with psycopg.connect(database) as connection:
        for type_ in ("vector", "halfvec"):
            create = f"CREATE TABLE as_{type_} (id bigint PRIMARY KEY, embedding {type_}(768))"
            connection.execute(create.encode())
            value = "(SELECT array_agg(random()) FROM generate_series(1, 768) WHERE i > 0)::vector(768)"
            fill = f"INSERT INTO as_{type_} SELECT i, {value} FROM generate_series(1, 2000) i"
            connection.execute(fill.encode())
            statement = f"SELECT pg_total_relation_size('as_{type_}'), pg_relation_size('as_{type_}')"
            sizes[type_] = connection.execute(statement.encode()).fetchone() or (0, 0)
    for type_, (total, _) in sizes.items():
        (shown,) = re.findall(rf"([\d.]+) kB as `{type_}\(768\)`", PAGE)
        assert total / 2000 / 1000 == pytest.approx(float(shown), rel=0.03)  # a small table has larger maps
    assert sizes["halfvec"][1] == 2000 / 5 * 8192


def right_results(text: str) -> dict[str, str]:
    """Return the results of a text's arithmetic by their names. Fails if one is wrong."""
    rows = re.findall(r"^\| ([^|]+) \| ([\d,./x()+ ]+) \| ([^|`]+) \|$", text, re.M)
    rows = [row for row in rows if row[2].split()[-1] in SIZES]
    for name, arithmetic, shown in rows:
        value = eval(arithmetic.replace(",", "").replace(" x ", " * "))  # noqa: S307  # digits and operators
        assert rounded(value, shown) == shown.removeprefix("about "), name
    return {name: shown for name, _, shown in rows}


def test_the_example_of_fifty_million_is_right() -> None:
    example = PAGE[PAGE.index("## Fifty million") : PAGE.index("## What to do next")]
    results = right_results(example)
    assert len(results) == 6
    assert results["index"] == rounded(memory(50_000_000, "halfvec", 768), results["index"])


def test_the_arithmetic_of_the_plan_is_right() -> None:
    plan = PAGE[PAGE.index("## A plan") :]
    results = right_results(plan)
    assert len(results) == 17
    for name, type_ in (("index", "halfvec"), ("index, with `bits: true`", "bit")):
        assert results[name] == rounded(memory(10**9, type_, 768), results[name])
    (sum_,) = re.findall(r"\(([\d. +]+)\) / 8 = 0\.74 TB", " ".join(plan.split()))
    assert [f"{part} TB" for part in sum_.split(" + ")] == [
        *(results[name] for name in ("table", "index", "the same in WAL, at least")),
    ]


def test_all_blocks_are_tested() -> None:
    assert BLOCKS.keys() == {"xargs", "kubernetes", "slurm", "ray"}


@pytest.fixture
def shards(database: str, tmp_path: Path) -> tuple[Array, dict[str, str]]:
    """Return the vectors of 20 files, more than the page's shards, and the environment in which a scheduler starts one.

    The connection is a service, in a file with the mode that a Secret's files have.
    """
    make_table(database)
    values = vectors(400)
    for part, ids in enumerate(np.array_split(np.arange(400), 20)):
        write_parquet(tmp_path / f"{part:02}.parquet", ids + 1, values[ids])
    variables = pg_variables(database)
    service = tmp_path / "pg_service.conf"
    keys = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    service.write_text("[items]\n" + "".join(f"{key}={variables[name]}\n" for name, key in keys.items()))
    service.chmod(0o440)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return values, {**os.environ, "PATH": path, "PGSERVICEFILE": str(service)}


def run_all(commands: list[tuple[list[str], dict[str, str]]]) -> None:
    """Run commands at once, in the project's folder, each with its environment. Fails if one fails."""
    running = [Process(words, cwd=ROOT, env=settings, stdout=-1, stderr=-2, text=True) for words, settings in commands]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), outputs


def job() -> dict[str, Any]:
    return dict(yaml.safe_load(BLOCKS["kubernetes"]))


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_the_job_is_valid(version: str) -> None:
    """No key is unknown to Kubernetes, and completions are the N of the arguments."""
    kubernetes_validate.validate(job(), version, strict=True)
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == f"$(JOB_COMPLETION_INDEX)/{job()['spec']['completions']}"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**job(), "spec": {**job()["spec"], "completion": 16}}, version, strict=True)


def test_the_pods_of_the_job_load_the_files(
    database: str, shards: tuple[Array, dict[str, str]], tmp_path: Path
) -> None:
    """Two pods load all files, with the environment of the container: a service file with the password, for a group."""
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    settings = {**shards[1], **{entry["name"]: entry["value"] for entry in container["env"]}}
    assert settings["PGSERVICEFILE"] == SERVICE_FILE
    settings["PGSERVICEFILE"] = shards[1]["PGSERVICEFILE"]
    assert container["args"].count(BUCKET) == 1
    words = [str(tmp_path / "*.parquet") if word == BUCKET else word for word in container["args"]]
    command = [sys.executable, "-m", "seed", *words]
    command[-1] = command[-1].replace(f"/{N}", "/2")
    run_all([([word.replace("$(JOB_COMPLETION_INDEX)", index) for word in command], settings) for index in "01"])
    assert same(database, shards[0])


def test_a_password_file_of_a_secret_is_ignored(database: str, tmp_path: Path) -> None:
    """Libpq reads no password file that a group may read. So the page has a service file."""
    variables = pg_variables(database)
    password = variables.pop("PGPASSWORD").replace(":", r"\:")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{password}\n")
    login = make_conninfo(database, password="", passfile=str(tmp_path / "pgpass"))
    (tmp_path / "pgpass").chmod(0o440)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(login)
    (tmp_path / "pgpass").chmod(0o400)
    psycopg.connect(login).close()


def test_the_tasks_of_the_array_load_the_files(
    database: str, shards: tuple[Array, dict[str, str]], tmp_path: Path
) -> None:
    """Two tasks of an array of two load all files."""
    script = BLOCKS["slurm"]
    assert f"--array=0-{N - 1}%" in script
    assert script.count(SHARED) == script.count(f"/{N}") == 1
    script = script.replace(SHARED, str(tmp_path / "*.parquet")).replace(f"/{N}", "/2")
    script = script.replace(".venv/bin/python", shlex.quote(sys.executable))
    run_all([(["bash", "-ec", script], {**shards[1], "SLURM_ARRAY_TASK_ID": index}) for index in "01"])
    assert same(database, shards[0])


def test_xargs_starts_every_shard(database: str, shards: tuple[Array, dict[str, str]], tmp_path: Path) -> None:
    """Three shards, which xargs starts, load all files, and each exits with 0."""
    script = BLOCKS["xargs"]
    assert f"seq 0 {N - 1} " in script
    for old, new in ((SHARED, str(tmp_path / "*.parquet")), (f"seq 0 {N - 1}", "seq 0 2"), (f"{{}}/{N}", "{}/3")):
        assert script.count(old) == 1
        script = script.replace(old, new)
    run_all([(["bash", "-ec", script], {**shards[1], "PGSERVICE": "items"})])
    assert same(database, shards[0])


def test_ray_starts_every_shard(database: str, shards: tuple[Array, dict[str, str]], tmp_path: Path) -> None:
    if not SOAK or importlib.util.find_spec("ray") is None:
        pytest.skip("make soak runs it, if Ray is installed: .venv/bin/python -m pip install ray")
    assert f"SHARDS = {N}\n" in BLOCKS["ray"]
    program = BLOCKS["ray"].replace(SHARED, str(tmp_path / "*.parquet"))
    run_all([([sys.executable, "-c", program], {**shards[1], "PGSERVICE": "items"})])
    assert same(database, shards[0])
