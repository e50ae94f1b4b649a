"""The library and its command as another project installs them: built, and in a fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pgvector_seed.common.version import VERSION
from tests.conftest import ask, pg_variables
from tests.e2e.conftest import install, readme_block, run, succeed

TABLE = "CREATE TABLE embeddings (id serial PRIMARY KEY, embedding vector(4))"


@pytest.fixture(scope="module")
def environment(project: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment with the wheel and the job's dependencies."""
    return install(wheel, project / "requirements-seed.txt", tmp_path_factory.mktemp("elsewhere")) / "bin"


@pytest.fixture
def outside(folder: Path) -> Path:
    """Return a folder outside of the project, with one migration."""
    (folder / "0001_create_embeddings.up.sql").write_text(TABLE)
    return folder.parent


def test_the_wheel_adds_one_name_and_misses_no_file(project: Path, wheel: Path) -> None:
    """Regression: the wheel lacked package data that was listed nowhere."""
    listed = subprocess.run(["git", "ls-files"], cwd=project, capture_output=True, text=True, check=True).stdout
    library = {name for name in listed.splitlines() if name.startswith("pgvector_seed/")}
    job = {f"pgvector_seed/{name}" for name in listed.splitlines() if name.startswith("seed/")}
    contents = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert contents == library | job
    assert contents > {
        "pgvector_seed/py.typed",
        "pgvector_seed/migrate/ledger/0001.sql",
        "pgvector_seed/migrate/ledger/facts.sql",
        "pgvector_seed/seed/verify/formats/report.schema.json",
    }


STRAYS = (
    "seed/.local/key",  # ignored by git
    "seed/.env",
    "seed/notes.txt",
    "pgvector_seed/.pgpass",
    "pgvector_seed/migrate/keys/id.pem",
)


def test_nothing_gets_in_that_only_lies_there(project: Path, tmp_path: Path) -> None:
    """Regression: seed/ was copied with files that git ignores, and wheel and sdist had all untracked files."""
    dirty = tmp_path / "project"
    shutil.copytree(project, dirty, ignore=shutil.ignore_patterns("dist"))
    for name in STRAYS:
        (dirty / name).parent.mkdir(exist_ok=True)
        (dirty / name).write_text("secret")
    succeed([sys.executable, "-m", "hatchling", "build"], dirty)
    (sdist,), (wheel,) = (dirty / "dist").glob("*.tar.gz"), (dirty / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = [*archive.getnames(), *zipfile.ZipFile(wheel).namelist()]
    assert [name for name in packed if Path(name).name in {Path(stray).name for stray in STRAYS}] == []


def test_the_sdist_makes_the_same_wheel(project: Path, wheel: Path, tmp_path: Path) -> None:
    """A wheel built from the sdist, without git and the other folders, has the same files."""
    (sdist,) = (project / "dist").glob("*.tar.gz")
    succeed(
        [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps", str(sdist)], tmp_path
    )
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_command_deploys_fills_and_verifies(environment: Path, database: str, outside: Path) -> None:
    """The command leads from an empty database to the verdict without a checkout."""
    settings = {**pg_variables(database), "PATH": str(environment)}
    for words in ("--version", "migrate apply", "sample", "verify"):
        done = run(["pgvector-seed", *words.split()], outside, **settings)
        assert done.returncode == 0, done.stdout
        assert words != "--version" or done.stdout == f"pgvector-seed, version {VERSION}\n"
    ask(database, "DROP TABLE embeddings")
    wrong = run(["pgvector-seed", "verify"], outside, **settings)
    assert wrong.returncode == 1, wrong.stdout
    assert "pgvector-seed migrate status" in wrong.stdout
    assert "python -m seed" not in wrong.stdout


def test_the_help_names_the_command_as_it_is_typed(environment: Path, outside: Path) -> None:
    for words in ("", "sample", "verify", "migrate", "migrate apply", "migrate baseline"):
        printed = run([str(environment / "pgvector-seed"), *words.split(), "--help"], outside).stdout
        assert printed.startswith(f"Usage: pgvector-seed {words}".rstrip()), printed
        assert "python -m seed" not in printed


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("m", "migrate"), ("migrate ba", "baseline"), ("verify --stri", "--strict"), ("verify --format ju", "junit")],
)
def test_bash_completes_the_words(environment: Path, outside: Path, typed: str, completed: str) -> None:
    """The documented line defines the function that bash calls; the last word that was typed is completed."""
    words = ["pgvector-seed", *typed.split()]
    script = (
        readme_block("run: completion", "examples/component/README.md")
        + f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        + 'complete -p pgvector-seed\n_pgvector_seed_completion pgvector-seed\necho "${COMPREPLY[*]}"'
    )
    done = run(["bash", "-euc", script], outside, PATH=f"{environment}:{os.environ['PATH']}")
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _pgvector_seed_completion pgvector-seed",
        completed,
    ], done.stdout


def test_the_library_needs_pulumi_for_the_component_alone(environment: Path, outside: Path) -> None:
    python = str(environment / "python")
    succeed([python, "-c", "import pgvector_seed"], outside)
    done = run([python, "-c", "from pgvector_seed import VectorDatabase"], outside)
    assert done.returncode == 1
    command = f"python -m pip install 'DIR/pgvector_seed-{VERSION}-py3-none-any.whl[pulumi]'"
    assert f"VectorDatabase needs Pulumi: {command}" in done.stdout
