"""The plan: history only grows at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.plan import plan
from postgres.errors import RefusedError

histories = st.dictionaries(
    st.integers(1, 9999).map(lambda number: f"{number:04}_step"), st.sampled_from("abc"), max_size=8
).map(lambda found: dict(sorted(found.items())))


@given(histories, st.integers(0, 8))
def test_a_prefix_of_the_files_is_continued_in_order(files: dict[str, str], length: int) -> None:
    ledger = dict(list(files.items())[:length])
    assert plan(files, ledger) == list(files)[length:]


@given(histories, histories)
def test_whatever_is_not_refused_keeps_history_and_runs_the_rest(files: dict[str, str], ledger: dict[str, str]) -> None:
    """Guards against a plan that would run something twice, lose something, or run out of order."""
    try:
        steps = plan(files, ledger)
    except RefusedError:
        assert list(files.items())[: len(ledger)] != list(ledger.items())
        return
    assert list(files.items())[: len(ledger)] == list(ledger.items())
    assert [*ledger, *steps] == list(files)


def test_each_fault_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        plan({"0001_a": "x", "0002_b": "x"}, {"0001_a": "y", "0003_c": "x"})
    assert "0001_a was edited" in str(caught.value)
    assert "0003_c was applied, and its file is gone" in str(caught.value)
    assert "0002_b is new, and comes before 0003_c" in str(caught.value)
    assert "next number" in caught.value.remedy
