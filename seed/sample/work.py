"""Run ``python -m seed sample``."""

from __future__ import annotations

import click

from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated

from .answers import run
from .check import compare
from .output import as_json as answers_as_json
from .output import as_tables


def sample(*, replace: bool, schema: str | None, as_json: bool) -> None:
    """Insert the article's vectors, print the answers, and exit with 1 if one is wrong."""
    with connect() as connection, translated("the sample"):
        answers = run(connection, schema, replace=replace)
    comparisons = compare(answers)
    click.echo(answers_as_json(answers, comparisons) if as_json else as_tables(answers, comparisons))
    if not all(comparison.right for comparison in comparisons):
        raise SystemExit(1)
