"""Remedies name nothing that an installation lacks, and the settings as the caller's program knows them."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.workspace import ROOT
from pgvector_seed.common.remedies import in_checkout, setting, settings
from pgvector_seed.common.version import VERSION
from pgvector_seed.infra.config import ARGUMENTS, FLAGS

# Names that only a checkout, or this repository's own program, has.
OURS = re.compile(
    r"\bdocs/|\bmake (?:env|up|verify)\b|\bPulumi: the keys?\b|"
    + "|".join(rf"\b{key}\b" for key, name in {**ARGUMENTS, **FLAGS}.items() if key != name)
)
# A package index would install a stranger's package of that name.
FROM_AN_INDEX = re.compile(r"pip install[^\n]* '?pgvector-seed|^pgvector-seed(?:[<=>\[]|$)", re.MULTILINE)
CHOOSERS = {"in_checkout", "set_remedy", "setting", "setting_name", "settings"}
CONFIGURATION = ROOT / "pgvector_seed" / "infra" / "config.py"
MODULES = [path for name in ("pgvector_seed", "seed") for path in sorted((ROOT / name).rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_only_a_checkout_has_is_named_in_a_checkout_alone(path: Path) -> None:
    """Regression: users of an installation were sent to pages, targets and keys that only a checkout has."""
    if path != CONFIGURATION:
        assert [text for text in _texts(ast.parse(path.read_text()).body) if OURS.search(text)] == []


@pytest.mark.parametrize("path", [*MODULES, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.*")])
def test_nothing_has_the_package_installed_from_an_index(path: Path) -> None:
    """Regression: the name was to be installed from an index, where it is free for strangers to register."""
    text = path.read_text()
    assert FROM_AN_INDEX.findall(text) == []
    assert {*re.findall(r"pgvector_seed-([0-9.]+)-py3", text)} <= {VERSION}


def _texts(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield the strings of the code, except docstrings and strings that are chosen by the place it runs in."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not _is_docstring(node) and not _is_chosen(node):
            waiting += ast.iter_child_nodes(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_chosen(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CHOOSERS


def test_a_checkout_is_told_the_commands() -> None:
    assert settings("host", "port") == "pulumi config set host; pulumi config set port"
    assert setting("onDestroy", "retain") == "pulumi config set onDestroy retain"
    assert in_checkout("Run: make up") == "Run: make up"


def test_an_installation_is_told_the_arguments(tmp_path: Path) -> None:
    """In an installation, which has the job inside of the library, remedies name arguments."""
    shutil.copytree(ROOT / "pgvector_seed", tmp_path / "pgvector_seed")
    shutil.copytree(ROOT / "seed", tmp_path / "pgvector_seed" / "seed")
    program = (
        "from pgvector_seed.common.remedies import in_checkout, setting, setting_name, settings\n"
        "print(settings('host', 'lockTimeout'), setting('onDestroy', 'retain'), setting_name('onDestroy'))\n"
        "print(repr(in_checkout('Run: make up')))\n"
        "from pgvector_seed.seed.verify.sections import section\n"
        "print(repr(section('rows')))"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, stdout=subprocess.PIPE)
    assert printed.stdout.decode().splitlines() == [
        'VectorDatabaseArgs(host=..., lock_timeout=...) VectorDatabaseArgs(on_destroy="retain") on_destroy',
        "''",
        "''",
    ]
