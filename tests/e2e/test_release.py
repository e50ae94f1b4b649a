"""What a tag builds, as release.yml does on the forge."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from local.workspace import ROOT
from pgvector_seed.common.version import VERSION
from tests.e2e.conftest import copy_project, run

WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project whose changelog has a date for this version."""
    folder = copy_project(tmp_path / "project")
    (folder / ".venv").symlink_to(sys.prefix)
    changes = folder / "CHANGELOG.md"
    changes.write_text(re.sub(rf"(?m)^## {re.escape(VERSION)}\b.*$", f"## {VERSION} (2026-11-28)", changes.read_text()))
    return folder


@pytest.mark.rest
def test_a_tag_builds_the_packages_and_lists_the_pins(project: Path) -> None:
    """The SBOM has the packages of requirements.txt, in their versions, and no other."""
    done = run([".ci/release", f"v{VERSION}"], project)
    assert done.returncode == 0, done.stdout
    assert {path.suffix for path in (project / "dist").iterdir()} == {".whl", ".gz"}
    sbom = json.loads((project / "sbom.json").read_text())
    described = sbom["metadata"]["component"]
    assert (described["name"], described["version"]) == ("pgvector-seed", VERSION)
    pins = re.findall(r"(?m)^([\w.-]+)(?:\[\w+\])?==(\S+)", (project / "requirements.txt").read_text())
    assert {(one["name"], one["version"]) for one in sbom["components"]} == set(pins)
    assert run(["git", "status", "--porcelain"], project).stdout.split() == ["M", "CHANGELOG.md"]


@pytest.mark.parametrize("tag", ["", "v99.0", VERSION])
def test_another_tag_is_refused(project: Path, tag: str) -> None:
    done = run([".ci/release", *filter(None, [tag])], project)
    assert (done.returncode, f"the version of the code {VERSION}" in done.stdout) == (2, True), done.stdout


def test_a_version_without_a_date_is_refused(project: Path) -> None:
    run(["git", "checkout", "-q", "CHANGELOG.md"], project)
    done = run([".ci/release", f"v{VERSION}"], project)
    assert (done.returncode, "CHANGELOG.md has no heading" in done.stdout) == (2, True), done.stdout


def test_nothing_is_published_before_its_environment_is_named() -> None:
    """Only the job that publishes has the identity for PyPI, after a condition, and no job holds a token."""
    publish = WORKFLOW.partition("\n  publish:\n")[2]
    assert "    if: vars.PYPI_ENVIRONMENT != ''\n" in publish
    assert "    environment: ${{ vars.PYPI_ENVIRONMENT }}\n" in publish
    assert "pypi" not in WORKFLOW.partition("\n  publish:\n")[0].partition("\non:")[2]
    assert "secrets." not in WORKFLOW


def test_every_action_is_pinned_by_its_commit() -> None:
    for path in (ROOT / ".github").rglob("*.yml"):
        for action in re.findall(r"uses: (?!\./)(\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action}"
