"""The make variables PG, DATABASE, ENGINE, SEED and YES, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local.binaries import INSTALLED
from pgvector_seed.common.errors import InputError

CHOICES = {
    "PG": tuple(map(str, INSTALLED)),
    "DATABASE": ("own", "env"),
    "ENGINE": ("auto", "pulumi", "standalone"),
    "SEED": ("1", "0"),
}


@dataclass(frozen=True)
class Options:
    """The make variables. ``major`` is PostgreSQL's version; ``seed`` is True if `up` inserts the sample.

    ``own_server`` is False with DATABASE=env, ``yes`` is True with YES=1.
    """

    major: int
    own_server: bool
    engine: str
    seed: bool
    yes: bool


def read(environment: Mapping[str, str]) -> Options:
    """Return the options; an unset variable means its first choice. Raises InputError with every fault."""
    values = {name: environment.get(name) or choices[0] for name, choices in CHOICES.items()}
    wrong = {name: choices for name, choices in CHOICES.items() if values[name] not in choices}
    if wrong:
        faults = [f"{name} must be one of {', '.join(wrong[name])}; got {values[name]!r}" for name in wrong]
        valid = " ".join(f"{name}={choices[0]}" for name, choices in wrong.items())
        raise InputError("; ".join(faults), f"As in: make up {valid}")
    return Options(
        major=int(values["PG"]),
        own_server=values["DATABASE"] == "own",
        engine=values["ENGINE"],
        seed=values["SEED"] == "1",
        yes=environment.get("YES") == "1",
    )
