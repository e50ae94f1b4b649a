"""Run ``python -m seed recall``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import click

from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import lines
from pgvector_seed.data.search import Question
from pgvector_seed.data.tune import tune
from pgvector_seed.data.tuning import Aim
from pgvector_seed.postgres.connection import connect

from .data import as_data
from .output import Output, result_lines
from .plot import picture


def recall(
    *,
    table: str | None,
    vector: str | None,
    metric: str | None,
    k: int | None,
    target: float | None,
    queries: int,
    file: str | None,
    where: str | None,
    values: Sequence[str],
    all_levels: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """Measure the levels, print them and the recommendation, and exit with 1 if there is none."""
    if target is not None and math.isnan(target):
        raise click.BadParameter("nan is no number", param_hint="'--target'")
    if plot is not None:
        _refuse_unwritable(plot)
    output = Output(as_json=as_json)
    with connect() as connection:
        try:
            question = Question(table, vector, metric, where, len(values))
            tuning = tune(connection, question, values, Aim(k, target, queries, file, all_levels), output)
        finally:
            output.end()
        data = as_data(connection, tuning)
    if as_json:
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo("\n".join(line for text in result_lines(tuning, data) for line in lines(text)))
    if plot is not None:
        _write(plot, picture(tuning))
    if tuning.recommended is None:
        raise SystemExit(1)


def _refuse_unwritable(plot: str) -> None:
    """Raise InputError for a file that could not be written, before the long work."""
    if Path(plot).suffix.lower() != ".svg":
        raise click.BadParameter(f"{plot} does not end with .svg", param_hint="'--plot'")
    if not Path(plot).absolute().parent.is_dir():
        raise InputError(f"the picture cannot be written to {plot}: there is no such folder")


def _write(plot: str, text: str) -> None:
    try:
        files.write(Path(plot), text, mode=0o666)
    except (OSError, RuntimeError) as error:  # before Python 3.13, a circle of links is a RuntimeError
        words = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the picture cannot be written to {plot}: {words}", "Name another file: --plot") from error
