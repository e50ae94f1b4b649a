"""The make variables PG, DATABASE, ENGINE and YES, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local.binaries import INSTALLED
from pgvector_seed.common.errors import InputError

CHOICES = {"PG": tuple(map(str, INSTALLED)), "DATABASE": ("own", "env"), "ENGINE": ("auto", "pulumi", "standalone")}


@dataclass(frozen=True)
class Options:
    """The major version of our own server, whether it is used, the engine, and whether YES=1 was given."""

    major: int
    own_server: bool
    engine: str
    yes: bool


def read(environment: Mapping[str, str]) -> Options:
    """Return the options; an unset variable means its first choice. Raises InputError with every fault."""
    values = {name: environment.get(name) or choices[0] for name, choices in CHOICES.items()}
    faults = [
        f"{name} must be one of {', '.join(choices)}; got {values[name]!r}"
        for name, choices in CHOICES.items()
        if values[name] not in choices
    ]
    if faults:
        raise InputError("; ".join(faults), "Give it on the command line, as in: make up ENGINE=standalone")
    return Options(
        major=int(values["PG"]),
        own_server=values["DATABASE"] == "own",
        engine=values["ENGINE"],
        yes=environment.get("YES") == "1",
    )
