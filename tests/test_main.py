"""A rule that the import linter cannot check: the entry point is a file, not a package."""

from __future__ import annotations

import ast
from pathlib import Path

ENTRY_POINT = Path(__file__).parents[1] / "__main__.py"


def test_the_entry_point_only_wires() -> None:
    """The entry point imports Pulumi and the library only, and has at most 40 lines."""
    text = ENTRY_POINT.read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} == {"pulumi", "pgvector_seed"}
    assert text.count("\n") <= 40
