"""Checks of arguments: of their types, by the annotations, and of their values."""

from __future__ import annotations

import json
import os
import re
import reprlib
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pulumi

from pgvector_seed.common.errors import InputError
from pgvector_seed.infra.address import is_port

# The names of types in messages. Awaitable, which pulumi.Input also allows, is left out.
_WORDS = {
    str: "text",
    int: "an integer",
    bool: "True or False",
    os.PathLike: "a path",
    Mapping: "a map",
    pulumi.Output: "an Output",
    NoneType: "None",
}


_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # which a path has without quotes


def faults_of_types(arguments: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the fault of each field of a dataclass whose value has another type than its annotation.

    Nested dataclasses are checked, too. The fault of a field without repr, a secret, names only the type.
    """
    hints = get_type_hints(type(arguments), localns={"Output": pulumi.Output, "T": Any})  # as pulumi.Input names them
    for field in fields(arguments):
        name, value, kinds = f"{path}{field.name}", getattr(arguments, field.name), _kinds(hints[field.name])
        if not _is_any_of(value, kinds):
            shown = _shown(value) if field.repr else type(value).__name__
            yield name, f"must be {_names(kinds)}; got {shown}"
        elif is_dataclass(value):
            yield from faults_of_types(value, f"{name}.")


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the classes of an annotation, without their parameters."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds(part))
    return (get_origin(hint) or hint,)


def _is_any_of(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Return True if a value has one of these types. A bool is not an int."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _names(kinds: tuple[Any, ...]) -> str:
    words = [_WORDS.get(kind, f"{kind.__name__}(...)") for kind in kinds if kind is not Awaitable]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _shown(value: Any) -> str:
    """Return the repr of a plain value, and the type of another, which may contain a secret."""
    if isinstance(value, pulumi.Output):
        return "an Output, which a preview may not know"
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def shown(value: Any) -> str:
    """Return the repr of a value, each part of it shortened: it may be large."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, 80, 80
    return short.repr(value)


def path_of(path: str, key: object) -> str:
    """Return the path of a key in the map at ``path``, for the option --path of pulumi config."""
    name = str(key)
    return f"{path}.{name}" if _PLAIN_KEY.fullmatch(name) else f"{path}[{json.dumps(name)}]"


def set_at(path: str, value: object) -> str:
    """Return the command that sets the value at a path."""
    return f"pulumi config set --path {shlex.quote(path)} {value}"


def remove_at(path: str) -> str:
    """Return the command that removes the value at a path."""
    return f"pulumi config rm --path {shlex.quote(path)}"


def with_command(fault: str, command: str) -> str:
    """Return a fault of the configuration with the command that fixes it."""
    return str(InputError(fault, f"Run: {command}"))


def one_of(*choices: str) -> Callable[[str], str | None]:
    """Return a check that a value is one of ``choices``."""
    return lambda value: None if value in choices else f"must be one of {', '.join(choices)}; got {shown(value)}"


def fault_of_port(value: str | int) -> str | None:
    """Return the fault of a port or a list of ports, or None."""
    good = all(map(is_port, str(value).split(",")))
    return None if good else f"must be an integer from 1 to 65535, or a list such as 5432,5433; got {shown(value)}"


def fault_of_version(value: str) -> str | None:
    """Return the fault of a version, or None."""
    good = value.isascii() and all(part.isdecimal() for part in value.split("."))
    return None if good else f"must be a version such as 0.8.4; got {shown(value)}"
