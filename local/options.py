"""What the make variables say, validated once: PG, DATABASE, ENGINE and YES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local.binaries import INSTALLED
from pgvector_seed.common.errors import InputError

CHOICES = {"PG": tuple(map(str, INSTALLED)), "DATABASE": ("own", "env"), "ENGINE": ("auto", "pulumi", "standalone")}


@dataclass(frozen=True)
class Options:
    """The major version of the own server, whose server is used, which engine, and whether to ask."""

    major: int
    own_server: bool
    engine: str
    yes: bool


def read(environment: Mapping[str, str]) -> Options:
    """The options; the first choice of each holds where nothing is said."""
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
