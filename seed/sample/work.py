"""Run ``python -m seed sample``."""

from __future__ import annotations

import json

import click

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.remedies import IN_CHECKOUT
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated

from .answers import run
from .changed import reason_to_leave_out
from .check import compare
from .output import as_json as answers_as_json
from .output import as_summary, as_tables

_NEXT = f"Next: your rows, then {'make' if IN_CHECKOUT else PROGRAM} verify"


def sample(*, replace: bool, unless_changed: bool, schema: str | None, as_json: bool) -> None:
    """Insert the article's vectors, print the answers, and exit with 1 if one is wrong.

    With ``unless_changed``, print one line if they are right, or if the table is not the article's any more.
    """
    with connect() as connection, translated("the sample"):
        left_out = reason_to_leave_out(connection, schema) if unless_changed else None
        if left_out:
            click.echo(json.dumps({"left_out": left_out}) if as_json else f"Left out: {left_out}. {_NEXT}")
            return
        answers = run(connection, schema, replace=replace)
    comparisons = compare(answers)
    as_text = as_summary if unless_changed else as_tables
    click.echo(answers_as_json(answers, comparisons) if as_json else as_text(answers, comparisons))
    if not all(comparison.right for comparison in comparisons):
        raise SystemExit(1)
