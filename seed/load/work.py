"""Run ``python -m seed load``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from pgvector_seed.common.errors import Error
from pgvector_seed.common.remedies import needing_extra
from pgvector_seed.common.text import lines

# pyarrow's own allocator keeps what it has freed: three times the memory for a large Parquet file.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
with needing_extra("load", "load"):
    from pgvector_seed.data.bind import LoadOptions
    from pgvector_seed.data.formats import STDIN
    from pgvector_seed.data.load import load_files
    from pgvector_seed.data.summary import LOCAL, Work
    from pgvector_seed.postgres.machine import cores

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
    rejects: str | None,
    jobs: int | None,
    shard: str | None,
    dask: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Load the files, and print what was done."""
    if replace and keep:
        raise click.UsageError("Only one of --replace and --keep can be given.")
    if ids is not None and number_from is not None:
        raise click.UsageError("Only one of --ids and --number-from can be given.")
    if dask is not None:
        refuse_with_dask(files, dask, jobs, dry_run=dry_run)
        jobs = jobs or cores()
    existing = "replace" if replace else "keep" if keep else "refuse"
    options = LoadOptions(table, vector, _mapping(columns), ids, number_from, existing)  # type: ignore[arg-type]
    progress = Progress(sys.stderr)
    try:
        work = Work(jobs or 1, _shard(shard), rejects, dry_run, dask)
        with naming_shard(shard):
            loaded = load_files(files, options, progress.show, work=work)
    finally:
        progress.end()
    if as_json:
        click.echo(as_json_document(loaded, rejects=rejects, dry_run=dry_run))
    else:
        name = f"shard {shard}: " if shard else ""
        click.echo("\n".join(lines(name + as_text(loaded, rejects=rejects, dry_run=dry_run))))
    if loaded.rejected:
        raise SystemExit(1)


@contextmanager
def naming_shard(shard: str | None) -> Iterator[None]:
    """Put the shard before the message of an error: many may write to one log, and this one has to be repeated."""
    try:
        yield
    except Error as error:
        if shard is not None:
            error.message = f"shard {shard}: {error.message}"
        raise


def refuse_with_dask(files: Sequence[str], dask: str, jobs: int | None, *, dry_run: bool) -> None:
    """Raise UsageError for what a cluster cannot do."""
    if dask != LOCAL and jobs is not None:
        raise click.UsageError("--jobs cannot be given with the address of a cluster: its workers say how many it has.")
    if dry_run:
        raise click.UsageError("--dry-run reads the files on this machine: leave --dask out.")
    if STDIN in files:
        raise click.UsageError("Standard input cannot be read by Dask's workers: leave --dask out.")


def _shard(text: str | None) -> tuple[int, int]:
    """Return I and N. Raises BadParameter unless I is from 0 to N-1."""
    if text is None:
        return 0, 1
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if not (match and int(match[1]) < int(match[2])):
        raise click.BadParameter(f"{text} is not I/N, with I from 0 to N-1", param_hint="'--shard'")
    return int(match[1]), int(match[2])


def _mapping(columns: Sequence[str]) -> dict[str, str]:
    """Return FILE_COLUMN to TABLE_COLUMN. Raises BadParameter for an entry without "="."""
    pairs = [entry.partition("=") for entry in columns]
    wrong = [name for name, sign, _ in pairs if not sign or not name]
    if wrong:
        raise click.BadParameter(f"{wrong[0]} is not FILE_COLUMN=TABLE_COLUMN", param_hint="'--map'")
    return {name: into for name, _, into in pairs}
