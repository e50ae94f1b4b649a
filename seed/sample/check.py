"""Compare the database's answers with the article's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from . import article
from .answers import Answers, same


@dataclass(frozen=True)
class Comparison:
    """One answer of the database, and the article's."""

    name: str
    expected: Any
    actual: Any
    right: bool


def compare(answers: Answers) -> list[Comparison]:
    """Compare the rows as float4, the nearest id, and the distances with a tolerance of 1e-6."""
    comparisons = []
    for id_, vector in article.VECTORS.items():
        stored = answers.rows.get(id_, [])
        comparisons.append(Comparison(f"row {id_}", vector, rounded(stored), same(stored, vector)))
    nearest = answers.nearest
    comparisons.append(Comparison("nearest", article.NEAREST, nearest, nearest == article.NEAREST))
    for id_, expected in article.DISTANCES.items():
        actual = answers.distances.get(id_, math.nan)
        comparisons.append(
            Comparison(f"distance of {id_}", expected, actual, abs(actual - expected) <= article.TOLERANCE)
        )
    return comparisons


def rounded(vector: list[float]) -> list[float]:
    """Round each element to the 7 digits of a float4; as a float it would be printed with 17."""
    return [float(f"{number:.7g}") for number in vector]
