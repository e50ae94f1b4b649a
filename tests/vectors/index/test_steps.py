"""The steps that build or replace an index, from every state of its three names."""

from __future__ import annotations

from itertools import product

import pytest

from pgvector_seed.vectors.index.steps import SUFFIXES, Action, NamedIndex, Step, next_step

Names = dict[str, NamedIndex | None]

OURS = [NamedIndex(True, valid=valid, declared=declared) for valid in (False, True) for declared in (False, True)]
STATES: list[Names] = [
    dict(zip(SUFFIXES, indexes, strict=True)) for indexes in product([None, *OURS], [None, *OURS], [None, *OURS])
]
FOREIGN = NamedIndex(ours=False, valid=True, declared=True)
AS_DECLARED, OTHER = NamedIndex(True, valid=True, declared=True), NamedIndex(True, valid=True, declared=False)
INVALID = NamedIndex(True, valid=False, declared=True)


def step_of(names: Names, *, partitioned: bool = False) -> Step | None:
    return next_step(names[""], names["_new"], names["_old"], partitioned=partitioned)


def perform(names: Names, step: Step) -> Names:
    """Return the names after a step, as the server would have them."""
    if step.action is Action.DROP:
        assert names[step.suffix] is not None
        return {**names, step.suffix: None}
    if step.action is Action.BUILD:
        assert names["_new"] is None or not names["_new"].valid
        return {**names, "_new": AS_DECLARED}
    assert step.action is Action.RENAME
    assert names["_new"] == AS_DECLARED
    assert names["_old"] is None or names[""] is None, "the name is taken"
    return {"": names["_new"], "_new": None, "_old": names["_old"] or names[""]}


def is_served(names: Names) -> bool:
    return any(index and index.valid for index in names.values())


@pytest.mark.parametrize("partitioned", [False, True])
def test_every_state_ends_with_the_declared_index_alone(partitioned: bool) -> None:
    """A valid NAME or NAME_old serves until another index does."""
    for names in STATES:
        ends_with_the_declared_index(names, partitioned=partitioned)


def ends_with_the_declared_index(names: Names, *, partitioned: bool) -> None:
    served = any(index and index.valid for index in (names[""], names["_old"]))
    for _ in range(8):
        step = step_of(names, partitioned=partitioned)
        if step is None:
            break
        names = perform(names, step)
        assert is_served(names) or not served
    assert names == {"": AS_DECLARED, "_new": None, "_old": None}
    assert step_of(names) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_tables_index_is_refused_before_any_step(suffix: str) -> None:
    for names in STATES:
        assert step_of({**names, suffix: FOREIGN}) == Step(Action.REFUSE, suffix)


@pytest.mark.parametrize(
    ("current", "new", "old", "step"),
    [
        (None, None, None, Step(Action.BUILD, "_new")),
        (OTHER, None, None, Step(Action.BUILD, "_new")),
        (OTHER, INVALID, None, Step(Action.DROP, "_new")),
        (OTHER, OTHER, None, Step(Action.DROP, "_new")),
        (OTHER, AS_DECLARED, None, Step(Action.RENAME, "_new")),
        (None, AS_DECLARED, None, Step(Action.RENAME, "_new")),
        (AS_DECLARED, None, OTHER, Step(Action.DROP, "_old")),
        (OTHER, AS_DECLARED, OTHER, Step(Action.DROP, "_old")),
        (AS_DECLARED, AS_DECLARED, None, Step(Action.DROP, "_new")),
        (AS_DECLARED, None, None, None),
        (INVALID, None, AS_DECLARED, Step(Action.BUILD, "_new")),
    ],
)
def test_the_next_step(
    current: NamedIndex | None, new: NamedIndex | None, old: NamedIndex | None, step: Step | None
) -> None:
    assert next_step(current, new, old) == step


def test_the_index_of_a_partitioned_table_is_completed() -> None:
    """It is invalid until all partitions have theirs: dropping it would begin again after each kill."""
    assert next_step(OTHER, INVALID, None, partitioned=True) == Step(Action.BUILD, "_new")
