"""Linting the migrations with squawk, which finds those that would lock or break a table in production."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.script import file_texts, parse, refuse_faults


def findings(directory: Path, migrations: Sequence[Migration], ids: Collection[str]) -> list[dict[str, Any]]:
    """Return squawk's findings in the ups of ``ids``, or of all migrations. Keys: file, line, rule, message and help.

    Raises InputError if squawk is not installed or an id is unknown, WrongResultError if squawk fails.
    """
    unknown = set(ids) - {migration.id for migration in migrations}
    if unknown:
        raise InputError(f"unknown migrations: {', '.join(sorted(unknown))}", f"The folder is {directory}.")
    selected = [migration for migration in migrations if migration.id in ids or not ids]
    refuse_faults(file_texts(selected))
    transactional = [migration for migration in selected if parse(migration.up).in_transaction]
    others = [migration for migration in selected if migration not in transactional]
    results = _squawk(directory, transactional, "--assume-in-transaction") + _squawk(directory, others)
    return sorted(results, key=lambda finding: (finding["file"], finding["line"]))


def _squawk(directory: Path, migrations: Sequence[Migration], *options: str) -> list[dict[str, Any]]:
    if not migrations:
        return []
    paths = [str(directory / up_file(migration.id)) for migration in migrations]
    command = [_program(), "--reporter", "json", *options, "--", *paths]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return [_finding(entry) for entry in json.loads(process.stdout)]
    except ValueError as error:
        raise WrongResultError(f"squawk failed: {' '.join((process.stderr or process.stdout).split())}") from error


def _finding(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": entry["file"],
        "line": entry["line"] + 1,  # squawk counts from 0
        "rule": entry["rule_name"],
        "message": entry["message"],
        "help": entry["help"] or "",
    }


def _program() -> str:
    """Return the path of squawk in this Python's environment, or else on PATH."""
    program = shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")
    if program is None:
        raise InputError("squawk is not installed", "Run: pip install squawk-cli")
    return program
