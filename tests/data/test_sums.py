"""Sums of words: what is an operator, and what is a word."""

from __future__ import annotations

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.sums import Term, parse_sum


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("king", [("king", 1)]),
        ("king - man + woman", [("king", 1), ("man", -1), ("woman", 1)]),
        ("- man + king", [("man", -1), ("king", 1)]),
        ("+ king", [("king", 1)]),
        ("mother-in-law - mother", [("mother-in-law", 1), ("mother", -1)]),
        ("-5 - +5", [("-5", 1), ("+5", -1)]),
        ("'new york' - york", [("new york", 1), ("york", -1)]),
        ("\"new york\" + 'o''neill'", [("new york", 1), ("o'neill", 1)]),
        ("o'neill - don't", [("o'neill", 1), ("don't", -1)]),
        ("-", [("-", 1)]),
        ("king - -", [("king", 1), ("-", -1)]),
        ("'-' - '+'", [("-", 1), ("+", -1)]),
        ("+ - king", [("+", 1), ("king", -1)]),
        ("  a\t+\nb ", [("a", 1), ("b", 1)]),
    ],
)
def test_a_sum_has_its_terms(text: str, terms: list[tuple[str, int]]) -> None:
    assert parse_sum(text) == tuple(Term(*term) for term in terms)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the sum has no term"),
        ("king queen", "neither + nor - between king and queen"),
        ("king - 'new york' york", "neither + nor - between new york and york"),
        ("king -", "no term after its last -"),
        ("'new york - man", "neither + nor - between 'new and york"),
    ],
)
def test_what_is_no_sum_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        parse_sum(text)
    assert words in error.value.message
    assert "king - man + woman" in error.value.remedy
