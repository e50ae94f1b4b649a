"""The stack's configuration file: reading it, and merging it into the copy that Pulumi writes to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pgvector_seed.common.errors import InputError

Stack = dict[str, Any]

PROJECT = "pgvector-seed"

_LARGEST = 100_000  # values, with each alias written out, as the program gets them
_DEEPEST = 100  # levels: writing a file recurses deeper than reading it


def load(path: Path) -> Stack:
    """Return the file's content, with an empty ``config`` if it has none or the file is missing.

    Raises InputError in one line if the file cannot be used.
    """
    name = os.path.relpath(path)
    remedy = "Fix the file."
    if path.parent != Path.cwd():
        remedy = f"Fix the file, or start anew: rm {shlex.quote(name)}"
    try:
        text = path.read_bytes().decode() if path.exists() else ""
        return _checked(yaml.safe_load(text))
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: byte {error.start + 1}", remedy) from error
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {' '.join(str(error).split())}", remedy) from error
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply", remedy) from error
    except ValueError as error:
        raise InputError(f"{name} {error}", remedy) from error
    except (AttributeError, LookupError) as error:  # from PyYAML, for text such as !!bool x
        raise InputError(f"{name} has a value that is not of its tag", remedy) from error


def _checked(data: Any) -> Stack:
    """Return the document as a stack. Raises ValueError for one that is no stack's, or could not be written again."""
    _refuse_unwritable(data, (), {})
    stack = _as_map(data, "is")
    config = _as_map(stack.get("config"), "has a config that is")
    # To Pulumi, too, a key without a prefix is the project's.
    return {**stack, "config": {key if ":" in key else f"{PROJECT}:{key}": value for key, value in config.items()}}


def _as_map(data: Any, subject: str) -> Stack:
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"{subject} not a map but a {type(data).__name__}: {repr(data)[:40]}")
    return data or {}


def _refuse_unwritable(data: Any, parents: tuple[int, ...], sizes: dict[int, int]) -> int:
    """Return the number of values in ``data``, each alias written out. ``sizes`` remembers the numbers by id.

    Raises ValueError for a value that contains itself, by an alias, or is too deep or large, and for a key that is no
    text.
    """
    if id(data) in parents:
        raise ValueError("is recursive: an alias refers to a value that contains it")
    if len(parents) > _DEEPEST:
        raise ValueError("is nested too deeply")
    if id(data) in sizes:
        return sizes[id(data)]  # by another alias: nested aliases would take exponential time
    other = [key for key in data if not isinstance(key, str)] if isinstance(data, dict) else ()
    if other:
        raise ValueError(f"has a key that is no text: {other[0]!r}")
    values = data.values() if isinstance(data, dict) else data if isinstance(data, (list, tuple)) else ()
    size = 1 + sum(_refuse_unwritable(value, (*parents, id(data)), sizes) for value in values)
    if size > _LARGEST:
        raise ValueError(f"has more than {_LARGEST:,} values, by its aliases")
    sizes[id(data)] = size
    return size


def merge(last: Stack, original: Stack, copy: Stack) -> Stack:
    """Return the new original, with every key in which the copy differs from the last original."""
    rest = {key: value for key, value in copy.items() if key != "config"}
    return {**original, **rest, "config": {**original["config"], **changed(last, copy)}}


def changed(last: Mapping[str, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the copy's configuration that were set there, not in the original."""
    return {key: value for key, value in copy["config"].items() if last["config"].get(key, ...) != value}
