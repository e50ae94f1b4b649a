"""The sample's answers against the article's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from . import article
from .answers import Answers, same


@dataclass(frozen=True)
class Comparison:
    """One answer beside what the article says."""

    name: str
    expected: Any
    actual: Any
    right: bool


def compare(answers: Answers) -> list[Comparison]:
    """The rows as they went in (float4), the nearest, and the distances to 1e-6."""
    comparisons = [_row(id_, vector, answers.rows.get(id_, [])) for id_, vector in article.VECTORS.items()]
    nearest = answers.nearest
    comparisons.append(Comparison("nearest", article.NEAREST, nearest, nearest == article.NEAREST))
    for id_, expected in article.DISTANCES.items():
        actual = answers.distances.get(id_, math.nan)
        comparisons.append(
            Comparison(f"distance of {id_}", expected, actual, abs(actual - expected) <= article.TOLERANCE)
        )
    return comparisons


def _row(id_: int, expected: list[float], actual: list[float]) -> Comparison:
    return Comparison(f"row {id_}", expected, shown(actual), same(actual, expected))


def shown(vector: list[float]) -> list[float]:
    """Each float4 by its 7 digits, instead of the 17 of the float8 that holds it."""
    return [float(f"{number:.7g}") for number in vector]
