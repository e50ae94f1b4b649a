"""Rules of the pipeline files beyond their schemas, which `make lint` checks."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [".github/workflows/deploy.yml", ".gitlab-ci.yml"])
def test_a_deployment_is_the_script_and_nothing_beside_it(name: str) -> None:
    """A pipeline calls the script and never Pulumi itself, which would bypass the script's refusals."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"examples/pipeline\.sh (\w+)$", text, re.MULTILINE) == ["preview", "deploy"]
    assert not re.search(r"\bpulumi (up|preview|stack)\b", text)


def test_what_the_script_refuses_is_documented() -> None:
    script = (ROOT / "examples" / "pipeline.sh").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    names = re.search(r"for name in (\w+) (\w+)\{(.*?)\}", script)
    assert names is not None
    for name in (names[1], *(names[2] + option for option in names[3].split(","))):
        assert f"`{name}`" in page


def test_the_action_installs_the_cli_of_the_pinned_sdk() -> None:
    text = (ROOT / ".github" / "actions" / "pulumi" / "action.yml").read_text(encoding="utf-8")
    command = re.search(r"\$\((sed .+)\)\"", text)
    assert command is not None
    done = subprocess.run(["sh", "-c", command[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{version('pulumi')}\n"
