"""Store one block in one transaction. The table is the only record of earlier loads: see stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from psycopg import errors

from pgvector_seed.common.errors import WrongResultError
from pgvector_seed.data.block import Array
from pgvector_seed.data.comparison import Comparison
from pgvector_seed.data.key_range import compare_in_range, has_key_range, present_in_range
from pgvector_seed.data.locks import LOCK_LIMIT, naming_holder
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.send import send
from pgvector_seed.data.stage import RaceError, Stage
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection

Existing = Literal["refuse", "replace", "keep"]

RACES = 10  # attempts, as another loader may insert the same keys first
LOST_RACES = 2  # after so many, look for a key that the block itself has twice

# A crash of the server loses whole blocks, never parts of one. They are copied again: see unit.load_part.
_BEGIN = f"""
SELECT {LOCK_LIMIT}, pg_catalog.set_config('synchronous_commit', 'off', true),
       pg_catalog.set_config('enable_hashjoin', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true)
"""


@dataclass(frozen=True)
class Counts:
    """How many rows were copied, changed (filled or replaced), left as they were, and only checked by a dry run."""

    copied: int = 0
    changed: int = 0
    unchanged: int = 0
    checked: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.copied + other.copied,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.checked + other.checked,
        )

    def __neg__(self) -> Counts:
        return Counts(-self.copied, -self.changed, -self.unchanged, -self.checked)


def store(connection: Connection, target: Target, rows: Rows, existing: Existing, *, fresh: bool) -> Counts:
    """Store the rows in a transaction of their own. ``fresh`` copies them at once: the table was empty at the start.

    Raises WrongResultError if the table has other values for a key and ``existing`` is "refuse", or the server refuses
    a row.
    """
    for race in range(RACES):
        try:
            with naming_holder(connection, target), connection.transaction():
                connection.execute(_BEGIN)
                if fresh and race == 0:
                    return copy(connection, target, rows)
                return _merge(connection, target, rows, existing, race)
        except (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure, RaceError) as error:
            if race + 1 == RACES:
                if isinstance(error, RaceError):
                    raise WrongResultError(
                        f"{rows.file}: other sessions, or a trigger, change the same rows all the time"
                    ) from error
                raise
    raise AssertionError


def copy(connection: Connection, target: Target, rows: Rows) -> Counts:
    """Copy the rows into the table. Raises WrongResultError if a trigger keeps one out."""
    if send(connection, target.sql_name, rows) < len(rows):
        _refuse_kept_out(connection, target, rows)
    return Counts(copied=len(rows))


def _refuse_kept_out(connection: Connection, target: Target, rows: Rows) -> None:
    """Raise WrongResultError unless the keys of all rows exist, as after a trigger that stores rows in a child table.

    Keys that the database generates cannot be looked up.
    """
    if set(target.key) <= set(rows.names):
        stage = Stage(connection, target)
        stage.clear()
        places = stage.present(rows)
        if len(places) == len(rows):
            return
        first = int(np.setdiff1d(np.arange(len(rows)), places)[0])
        words = f"{rows.shown(first, target.key)}: a trigger on {target.shown} kept it out"
    else:
        words = f"{rows.file}: a trigger on {target.shown} kept rows out"
    raise WrongResultError(words, f"Nothing of this block was stored. To see the triggers, in psql: \\d {target.shown}")


def _merge(connection: Connection, target: Target, rows: Rows, existing: Existing, race: int) -> Counts:
    if existing == "keep":
        places = _present(connection, target, rows)
        changed = np.empty(0, np.int64)
    else:
        places, fills, differs = _compare(connection, target, rows)
        if existing == "refuse" and differs.any():
            raise _refusal(rows, target, int(places[differs].min()))
        changed = np.sort(places[fills | differs])
    if race >= LOST_RACES:
        _refuse_repeated(connection, target, rows)
    is_missing = np.ones(len(rows), bool)
    is_missing[places] = False
    missing = np.flatnonzero(is_missing)
    if len(missing):
        copy(connection, target, rows.take(missing) if len(places) else rows)
    if len(changed):
        Stage(connection, target).update(rows.take(changed), replace=existing == "replace")
    return Counts(len(missing), len(changed), len(places) - len(changed))


def _present(connection: Connection, target: Target, rows: Rows) -> Array:
    """Return the places of the rows whose keys exist."""
    if has_key_range(rows, target):
        return present_in_range(connection, target, rows)
    return Stage(connection, target).present(rows)


def _compare(connection: Connection, target: Target, rows: Rows) -> Comparison:
    """Compare the rows with those of their keys in the table."""
    is_key_and_vector = [*rows.fixed] == [*target.key, target.vector.name] and not rows.varying
    if is_key_and_vector and has_key_range(rows, target):
        return compare_in_range(connection, target, rows)
    return Stage(connection, target).compare(rows)


def _refuse_repeated(connection: Connection, target: Target, rows: Rows) -> None:
    """Raise WrongResultError if two keys of the block are equal for the server, though their bytes differ."""
    repeated = Stage(connection, target).repeated()
    if repeated:
        first, second = (rows.shown(place, target.key) for place in sorted(repeated[:2], key=rows.numbers.__getitem__))
        raise WrongResultError(
            f"{second}: its key is also that of {first}, as {target.shown} compares {', '.join(target.key)}",
            "Remove one of the two rows. Nothing of this block was stored.",
        )


def _refusal(rows: Rows, target: Target, place: int) -> WrongResultError:
    return WrongResultError(
        f"{rows.shown(place, target.key)}: {target.shown} has other values for this key, which were not changed",
        "To overwrite the values that differ: --replace. To skip every key that exists: --keep.",
    )
