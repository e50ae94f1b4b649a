"""The verdict on the sample's answers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from pgvector import Vector

from seed.sample import article
from seed.sample.answers import Answers
from seed.sample.check import compare
from seed.sample.output import as_json, as_tables


def right_answers() -> Answers:
    rows = {id_: Vector(vector).to_list() for id_, vector in article.VECTORS.items()}
    return Answers(rows=rows, nearest=article.NEAREST, distances=dict(article.DISTANCES))


def test_the_articles_answers_are_right() -> None:
    assert [check.right for check in compare(right_answers())] == [True] * 7


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rows": {**right_answers().rows, 2: [0.4, 0.2, 0.7, 0.8]}}, "row 2"),
        ({"rows": {1: right_answers().rows[1], 2: right_answers().rows[2]}}, "row 3"),
        ({"nearest": 1}, "nearest"),
        ({"distances": {**article.DISTANCES, 1: article.DISTANCES[1] + 2e-6}}, "distance of 1"),
        ({"distances": {1: article.DISTANCES[1], 2: article.DISTANCES[2]}}, "distance of 3"),
    ],
)
def test_each_wrong_answer_is_found_and_no_other(change: dict[str, Any], name: str) -> None:
    """Each wrong answer is reported with the expected and the actual value, and no right one."""
    answers = dataclasses.replace(right_answers(), **change)
    comparisons = compare(answers)
    assert [check.name for check in comparisons if not check.right] == [name]
    assert json.loads(as_json(answers, comparisons))["right"] is False
    tables = as_tables(answers, comparisons)
    assert "expected" in tables
    assert "actual" in tables
    assert name in tables


def test_a_distance_within_the_tolerance_is_right() -> None:
    """Rounding differences of another build are tolerated."""
    near = {id_: distance + 9e-7 for id_, distance in article.DISTANCES.items()}
    assert all(check.right for check in compare(dataclasses.replace(right_answers(), distances=near)))
