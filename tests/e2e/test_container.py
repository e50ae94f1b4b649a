"""The Dockerfile's files and command, without a container engine. ci.yml builds the image and runs it."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import sys
from pathlib import Path

from local.workspace import ROOT
from tests.conftest import declare, pg_variables
from tests.e2e.conftest import copy_project, run
from tests.migrate.helpers import run as apply

TABLE = "CREATE TABLE embeddings (id serial PRIMARY KEY, embedding vector(4))"
LINES = re.findall(r"(?m)^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def the(instruction: str) -> str:
    """Return the value of an instruction that the file has once."""
    (value,) = [value for name, value in LINES if name == instruction]
    return str(value)


def test_it_has_no_rights() -> None:
    """The last user is not root, and is given by number."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", the("USER"))
    after = [name for name, _ in LINES][[name for name, _ in LINES].index("USER") :]
    assert after == ["USER", "ENTRYPOINT", "CMD"]


def test_the_context_has_the_packages_files_and_no_other() -> None:
    """Package data is not missing, and what only lies in a folder does not get in."""
    listed = run(["git", "ls-files"], ROOT).stdout.splitlines()
    taken = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    allowed = {name for name in listed if any(fnmatch.fnmatch(name, one.replace("**/", "*")) for one in taken)}
    wanted = {name for name in listed if name.startswith(("pgvector_seed/", "seed/"))}
    assert allowed == wanted | {"requirements-seed.txt", "requirements-load.txt"}


def test_its_command_verifies(database: str, folder: Path, tmp_path: Path) -> None:
    """The files, laid out as COPY does, verify a database, and remedies name the command of an installation."""
    project = copy_project(tmp_path / "project")
    for name, value in LINES:
        source, _, target = value.partition(" ")
        if name == "COPY" and source != "${REQUIREMENTS}":
            shutil.copytree(project / source, tmp_path / "image" / target.lstrip("/"))
    variable, _, path = the("ENV").partition("=")
    command = [sys.executable, *json.loads(the("ENTRYPOINT"))[1:], *json.loads(the("CMD"))]
    settings = {**pg_variables(database), variable: str(tmp_path / "image" / path.lstrip("/"))}
    help_text = run([*command, "--help"], tmp_path, **settings).stdout
    assert ("pgvector-seed" in help_text, "python -m seed" in help_text) == (True, False)
    assert run(command, tmp_path, **settings).returncode == 2
    (folder / "0001_create_embeddings.up.sql").write_text(TABLE)
    apply(database, folder, declare())
    done = run(command, tmp_path, **settings)
    assert (done.returncode, "pass  column" in done.stdout) == (0, True), done.stdout
