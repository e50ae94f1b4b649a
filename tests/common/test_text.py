"""Texts that are safe and right to print."""

from pgvector_seed.common.text import counted


def test_a_number_has_its_noun_in_the_right_form() -> None:
    """Regression: verify printed "1 vectors"."""
    assert [counted(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
