"""Run the commands of ``python -m seed index``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from pgvector_seed.common.sizes import fault_of_size, parse_size
from pgvector_seed.common.text import lines, printable
from pgvector_seed.migrate import indexes
from pgvector_seed.migrate.index_states import read_declared, states, undeclared
from pgvector_seed.postgres.connection import connect

from .output import REMOVED, result_as_data, result_as_text, states_as_data, states_as_text


def status(*, as_json: bool) -> None:
    """Print the declared indexes, and exit with 1 if one is not built as declared."""
    with connect() as connection:
        ledger = read_declared(connection)
        declared = states(connection, ledger)
        removed = [index.name for index in undeclared(connection, ledger)]
    if as_json:
        _print({**states_as_data(declared), "to_drop": removed})
    else:
        _print("\n".join([states_as_text(declared), *(f"{name}  {REMOVED}" for name in removed)]))
    if not all(state.is_ready for state in declared):
        raise SystemExit(1)


def build(*, names: Sequence[str], memory: str | None, sample: int | None, as_json: bool) -> None:
    """Build the declared indexes, analyze their tables, and print what was done."""
    if memory is not None and (fault := fault_of_size(memory)):
        raise click.BadParameter(fault, param_hint="'--memory'")
    options = indexes.BuildOptions(names, parse_size(memory or ""), sample)
    with connect() as connection:
        result = indexes.build(connection, _reporter(as_json=as_json), options)
    _print(result_as_data(result) if as_json else result_as_text(result))
    if not all(state.is_ready for state in result.states):
        raise SystemExit(1)


def drop(*, name: str, as_json: bool) -> None:
    """Drop an index."""
    with connect() as connection:
        dropped = indexes.drop(connection, name, _reporter(as_json=as_json))
    _print({"dropped": dropped} if as_json else f"{name} {'is dropped' if dropped else 'does not exist'}")


def _reporter(*, as_json: bool) -> Callable[[str], None]:
    return lambda line: click.echo(printable(line), err=as_json)


def _print(data: dict[str, Any] | str) -> None:
    click.echo("\n".join(lines(data)) if isinstance(data, str) else json.dumps(data, indent=2))
