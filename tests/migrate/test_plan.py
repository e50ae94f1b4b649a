"""The plan: history grows at its end, and shrinks there if that is allowed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.plan import plan

histories = st.dictionaries(
    st.integers(1, 9999).map(lambda number: f"{number:04}_step"), st.sampled_from("abc"), max_size=8
).map(lambda texts: {id_: id_ + text for id_, text in sorted(texts.items())})


@given(histories, st.integers(0, 8))
def test_a_prefix_of_the_files_is_continued_in_order(files: dict[str, str], length: int) -> None:
    ledger = dict(list(files.items())[:length])
    steps = plan(files, ledger)
    assert (steps.undo, steps.apply) == ((), tuple(files)[length:])


@given(histories, st.integers(0, 8), histories)
def test_a_removed_suffix_is_undone_newest_first_and_only_when_that_is_allowed(
    ledger: dict[str, str], length: int, more: dict[str, str]
) -> None:
    common = dict(list(ledger.items())[:length])
    last = max(common, default="")
    files = common | {name: text for name, text in more.items() if name > last and name not in ledger}
    removed = list(ledger)[length:]
    steps = plan(files, ledger, allow_down=True)
    assert list(steps.undo) == removed[::-1]
    if removed:
        with pytest.raises(RefusedError, match="allowDown"):
            plan(files, ledger)
        with pytest.raises(RefusedError, match="no down was recorded"):
            plan(files, ledger, removed[-1:], allow_down=True)


@given(histories, st.data(), st.booleans())
def test_whatever_is_not_refused_leads_from_the_ledger_to_the_files(
    files: dict[str, str], data: st.DataObject, allow_down: bool
) -> None:
    """An accepted plan runs nothing twice, loses nothing and keeps the order.

    The ledger is a prefix of the files with at most one difference.
    """
    ledger = dict(list(files.items())[: data.draw(st.integers(0, 8))])
    for id_ in data.draw(st.lists(st.sampled_from([*ledger, "0000_first", "9999_step"]), max_size=2)):
        if id_ not in ledger or data.draw(st.booleans()):
            ledger = dict(sorted({**ledger, id_: id_ + data.draw(st.sampled_from("abc"))}.items()))
        else:
            del ledger[id_]
    common = [id_ for id_ in ledger if id_ in files]
    continues = common == list(files)[: len(common)] == list(ledger)[: len(common)] and all(
        files[id_] == ledger[id_] for id_ in common
    )
    if not continues or (len(common) < len(ledger) and not allow_down):
        with pytest.raises(RefusedError):
            plan(files, ledger, allow_down=allow_down)
        return
    steps = plan(files, ledger, allow_down=allow_down)
    done = dict(ledger)
    for id_ in steps.undo:
        assert id_ == list(done)[-1]
        del done[id_]
    for id_ in steps.apply:
        assert id_ > max(done, default="")
        done[id_] = files[id_]
    assert list(done.items()) == list(files.items())


@given(histories.filter(lambda texts: len(texts) > 1), st.randoms())
def test_a_ledger_in_another_order_is_refused(files: dict[str, str], dice: random.Random) -> None:
    """Edited positions are refused, as the migrations would be undone in the wrong order."""
    names = list(files)
    dice.shuffle(names)
    if names != list(files):
        with pytest.raises(RefusedError, match="in the place of"):
            plan(files, {name: files[name] for name in names})


def test_each_fault_is_named() -> None:
    with pytest.raises(RefusedError) as caught:
        plan({"0001_a": "x", "0003_c": "x", "0005_e": "x"}, {"0001_a": "y", "0002_b": "x", "0005_e": "x"})
    assert "0001_a was edited" in str(caught.value)
    assert "0002_b was applied, and its file is missing" in str(caught.value)
    assert "0003_c is new, and comes before 0005_e" in str(caught.value)
    assert "next number" in caught.value.remedy
    assert "python -m seed migrate repair" in caught.value.remedy


def test_a_renamed_migration_is_not_undone_and_applied_again() -> None:
    """A renamed migration is refused: undoing it would lose rows."""
    with pytest.raises(RefusedError, match="0001_a was applied, and its file was renamed to 0001_z"):
        plan({"0001_z": "x"}, {"0001_a": "x"}, allow_down=True)


def test_a_down_is_asked_for_beside_an_up_that_exists() -> None:
    """Regression: without its up, a down is a fault of the folder."""
    with pytest.raises(RefusedError, match="no down was recorded for 0002_b") as caught:
        plan({"0001_a": "x"}, {"0001_a": "x", "0002_b": "x"}, {"0002_b"}, allow_down=True)
    assert caught.value.remedy.startswith("Put 0002_b.up.sql back, and write 0002_b.down.sql. ")
    assert "python -m seed migrate apply" in caught.value.remedy
