"""The output of the sample: tables of text, or one JSON document."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.remedies import IN_CHECKOUT

from . import article
from .answers import Answers
from .check import Comparison, rounded


def as_json(answers: Answers, comparisons: Sequence[Comparison]) -> str:
    """Return one document: the answers, the checks, and ``right``, which is true if all of them are."""
    document = {
        "right": all(comparison.right for comparison in comparisons),
        "rows": {id_: rounded(vector) for id_, vector in answers.rows.items()},
        "nearest": answers.nearest,
        "distances": answers.distances,
        "checks": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    return json.dumps(document, indent=2)


def as_tables(answers: Answers, comparisons: Sequence[Comparison]) -> str:
    """Return a table for each of the three answers, and the verdict."""
    rows = {str(id_): str(rounded(vector)) for id_, vector in answers.rows.items()}
    nearest = str(answers.nearest)
    distances = [(str(id_), repr(distance)) for id_, distance in answers.distances.items()]
    return "\n\n".join(
        [
            _table("Rows", ("id", "embedding"), list(rows.items())),
            _table(f"Nearest to {article.NEAREST_TO}", ("id", "embedding"), [(nearest, rows[nearest])]),
            _table(f"Distances from {article.DISTANCES_FROM}", ("id", "distance"), distances),
            _verdict(comparisons),
        ]
    )


def as_summary(answers: Answers, comparisons: Sequence[Comparison]) -> str:
    """Return one line if all answers are right; otherwise the tables."""
    if not all(comparison.right for comparison in comparisons):
        return as_tables(answers, comparisons)
    return f"{_verdict(comparisons)} To see them: {'make seed' if IN_CHECKOUT else f'{PROGRAM} sample'}"


def _verdict(comparisons: Sequence[Comparison]) -> str:
    wrong = [comparison for comparison in comparisons if not comparison.right]
    if not wrong:
        return f"All {len(comparisons)} answers are the article's."
    rows = [(comparison.name, str(comparison.expected), str(comparison.actual)) for comparison in wrong]
    return _table("Wrong", ("answer", "expected", "actual"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a title, its columns as wide as their longest entry."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    body = ["   ".join(map(str.ljust, row, widths)).rstrip() for row in (columns, *rows)]
    return "\n".join([title, body[0], "-" * (sum(widths) + 3 * len(widths) - 3), *body[1:]])
