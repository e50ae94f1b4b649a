"""The options of a query, checked before it is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import click

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import fault_of_text, printable

_NAMES = re.compile(r'"((?:[^"]|"")+)"|([^,]+)')


@dataclass(frozen=True)
class Options:
    """The options that do not name the search."""

    k: int
    values: Sequence[str]
    exact: bool
    fallback: bool
    explain: bool
    as_json: bool


def check_usage(ways: dict[str, str | None], key: str | None) -> None:
    """Raise UsageError unless exactly one way to ask was chosen, and the key belongs to it."""
    chosen = [name for name, value in ways.items() if value is not None]
    if not chosen:
        raise click.UsageError("What is asked for? Give VECTOR, --id, --sum or --file.")
    if len(chosen) > 1:
        raise click.UsageError(f"Only one of {' and '.join(chosen)} can be given.")
    if key is not None and chosen[0] not in ("--id", "--sum"):
        raise click.UsageError("--key is for --id and --sum.")


def check_texts(texts: Sequence[str | None]) -> None:
    """Raise InputError for a text that the server cannot get."""
    for text in texts:
        if text and fault_of_text(text):
            raise InputError(f"{printable(text)} is no text in UTF-8")


def column_names(options: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names in lists with commas. A name with a comma stands in double quotes, as in SQL."""
    if not options:
        return None
    matches = [match for text in options for match in _NAMES.finditer(text)]
    return tuple(dict.fromkeys(match[1].replace('""', '"') if match[1] else match[2].strip() for match in matches))
