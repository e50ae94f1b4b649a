"""Run ``python -m seed load``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import IN_CHECKOUT, wheel_path
from pgvector_seed.common.text import lines

# pyarrow's own allocator keeps what it has freed: three times the memory for a large Parquet file.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
try:
    from pgvector_seed.data.bind import Options
    from pgvector_seed.data.load import load_files
except ModuleNotFoundError as error:
    if error.name not in ("numpy", "pyarrow"):
        raise
    install = "-r requirements-load.txt" if IN_CHECKOUT else f"'{wheel_path()}[load]'"
    raise InputError(f"load needs {error.name}", f"Run: pip install {install}") from error

from .output import Progress, as_json_document, as_text


def load(
    *,
    files: Sequence[str],
    table: str | None,
    vector: str | None,
    columns: Sequence[str],
    ids: str | None,
    number_from: int | None,
    replace: bool,
    keep: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Load the files, and print what was done."""
    if replace and keep:
        raise click.UsageError("Only one of --replace and --keep can be given.")
    if ids is not None and number_from is not None:
        raise click.UsageError("Only one of --ids and --number-from can be given.")
    existing = "replace" if replace else "keep" if keep else "refuse"
    options = Options(table, vector, _mapping(columns), ids, number_from, existing)  # type: ignore[arg-type]
    progress = Progress(sys.stderr)
    try:
        loaded = load_files(files, options, progress.show, dry_run=dry_run)
    finally:
        progress.end()
    shown = as_json_document if as_json else as_text
    click.echo(shown(loaded, dry_run=dry_run) if as_json else "\n".join(lines(shown(loaded, dry_run=dry_run))))


def _mapping(columns: Sequence[str]) -> dict[str, str]:
    """Return FILE_COLUMN to TABLE_COLUMN. Raises BadParameter for an entry without "="."""
    pairs = [entry.partition("=") for entry in columns]
    wrong = [name for name, sign, _ in pairs if not sign or not name]
    if wrong:
        raise click.BadParameter(f"{wrong[0]} is not FILE_COLUMN=TABLE_COLUMN", param_hint="'--map'")
    return {name: into for name, _, into in pairs}
